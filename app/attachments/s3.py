"""Files in S3, or in a storage that speaks its API. Imported only when the first is needed.

The names of errors are those of the Amazon S3 API Reference, "Error responses". The account that
boto3 finds in its own environment variables should be able to read attachments and nothing else:
whoever may submit a message may name any object.
"""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import timedelta
from functools import cache
from typing import Any

import boto3.session
from botocore import exceptions as boto
from botocore.config import Config

from app.attachments.errors import (
    ADDRESS,
    FORBIDDEN,
    NOT_FOUND,
    REFUSED,
    STORAGE,
    TOO_LARGE,
    UNAVAILABLE,
    AttachmentError,
)
from app.settings import settings
from connectors.base import ErrorCode

PRESIGNED_FOR = timedelta(hours=1)
CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 15
CHUNK_BYTES = 256 * 1024

_ADDRESS = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(.+)", re.DOTALL)

ROW_OF_ERROR: Mapping[str, ErrorCode] = {
    "NoSuchBucket": NOT_FOUND,
    "NoSuchKey": NOT_FOUND,
    "NoSuchVersion": NOT_FOUND,
    "AccessDenied": FORBIDDEN,
    "InvalidObjectState": FORBIDDEN,
    "AuthorizationHeaderMalformed": STORAGE,
    "ExpiredToken": STORAGE,
    "InvalidAccessKeyId": STORAGE,
    "InvalidToken": STORAGE,
    "PermanentRedirect": STORAGE,
    "RequestTimeTooSkewed": STORAGE,
    "SignatureDoesNotMatch": STORAGE,
    "InternalError": UNAVAILABLE,
    "RequestTimeout": UNAVAILABLE,
    "ServiceUnavailable": UNAVAILABLE,
    "SlowDown": UNAVAILABLE,
    # What botocore itself takes for a sign of throttling, from whichever storage.
    "BandwidthLimitExceeded": UNAVAILABLE,
    "LimitExceededException": UNAVAILABLE,
    "PriorRequestNotComplete": UNAVAILABLE,
    "ProvisionedThroughputExceededException": UNAVAILABLE,
    "RequestLimitExceeded": UNAVAILABLE,
    "RequestThrottled": UNAVAILABLE,
    "RequestThrottledException": UNAVAILABLE,
    "ThrottledException": UNAVAILABLE,
    "Throttling": UNAVAILABLE,
    "ThrottlingException": UNAVAILABLE,
    "TooManyRequestsException": UNAVAILABLE,
    "TransactionInProgressException": UNAVAILABLE,
}


def fetch(url: str, room: int, deadline: float) -> tuple[bytes, str]:
    """The object at `s3://bucket/key` and its type, by the `time.monotonic()` of `deadline`.

    Raises AttachmentError, also for one of more than `room` bytes.
    """
    with _blaming():
        reply = _client(settings().s3_endpoint, settings().s3_region).get_object(**_place(url))
        with closing(reply["Body"]) as body:
            if reply.get("ContentLength", 0) > room:
                raise AttachmentError(TOO_LARGE)
            content = bytearray()
            for chunk in body.iter_chunks(CHUNK_BYTES):
                content += chunk
                if len(content) > room:
                    raise AttachmentError(TOO_LARGE)
                if time.monotonic() >= deadline:
                    raise AttachmentError(UNAVAILABLE, "not fetched in time")
    return bytes(content), reply.get("ContentType", "")


def presigned(url: str) -> str:
    """An https:// or http:// address at which anybody can read `s3://bucket/key` for an hour.

    Nothing is asked of the storage. Raises AttachmentError.
    """
    with _blaming():
        client = _client(settings().s3_endpoint, settings().s3_region)
        address = client.generate_presigned_url(
            "get_object", Params=_place(url), ExpiresIn=PRESIGNED_FOR.seconds
        )
    return str(address)


def _place(url: str) -> dict[str, str]:
    found = _ADDRESS.fullmatch(url)
    if found is None:
        raise AttachmentError(ADDRESS)
    return {"Bucket": found[1], "Key": found[2]}


# A session of its own for each: the default one of boto3 must not be used by several threads.
@cache
def _client(endpoint: str | None, region: str | None) -> Any:
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name=region,
        config=Config(
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            read_timeout=READ_TIMEOUT_SECONDS,
            # The message is tried again, by the rules of its agent.
            retries={"total_max_attempts": 1, "mode": "standard"},
            proxies={},
            signature_version="s3v4",
            # Not every storage has names of its own for its buckets, nor checksums.
            s3={"addressing_style": "path" if endpoint else "auto"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


@contextmanager
def _blaming() -> Iterator[None]:
    """The texts of boto3 quote addresses, so only the names of its errors are told."""
    try:
        yield
    except boto.ClientError as error:
        raise _refusal(error) from None
    except (
        boto.ConnectionError,
        boto.HTTPClientError,
        boto.IncompleteReadError,
        boto.FlexibleChecksumError,
    ) as error:
        raise AttachmentError(UNAVAILABLE, type(error).__name__) from None
    except boto.ParamValidationError:
        raise AttachmentError(ADDRESS) from None
    except boto.BotoCoreError as error:
        raise AttachmentError(STORAGE, type(error).__name__) from None


def _refusal(error: boto.ClientError) -> AttachmentError:
    name = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    row = ROW_OF_ERROR.get(name)
    if row is None:
        by_status = {301: STORAGE, 401: STORAGE, 403: FORBIDDEN, 404: NOT_FOUND, 429: UNAVAILABLE}
        row = UNAVAILABLE if status >= 500 else by_status.get(status, REFUSED)
    return AttachmentError(row, f"the storage answers {status} {name[:50]}")
