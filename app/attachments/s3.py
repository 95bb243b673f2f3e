"""Fetch files from S3 or a storage with the same API, or sign addresses for them.

Importing this module imports boto3, so import it only where an s3:// address is used. Error names
are those of the Amazon S3 API Reference, "Error responses". The account, which boto3 finds in its
own environment variables, should be allowed to read attachments only: a caller who may submit
messages can name any object.
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

CODE_OF_ERROR: Mapping[str, ErrorCode] = {
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
    # The names that botocore takes as throttling, from any storage.
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
CODE_OF_STATUS: Mapping[int, ErrorCode] = {
    301: STORAGE,
    401: STORAGE,
    403: FORBIDDEN,
    404: NOT_FOUND,
    429: UNAVAILABLE,
}


def fetch(url: str, capacity: int, deadline: float) -> tuple[bytes, str]:
    """Return the content of `s3://bucket/key` and its media type.

    `deadline` is in seconds of `time.monotonic()`.

    Raises:
        AttachmentError: the object cannot be fetched in time, or is larger than `capacity` bytes.
    """
    with _s3_errors():
        client = _client(settings().s3_endpoint, settings().s3_region)
        reply = client.get_object(**_location(url))
        with closing(reply["Body"]) as body:
            if reply.get("ContentLength", 0) > capacity:
                raise AttachmentError(TOO_LARGE)
            content = bytearray()
            for chunk in body.iter_chunks(CHUNK_BYTES):
                content += chunk
                if len(content) > capacity:
                    raise AttachmentError(TOO_LARGE)
                if time.monotonic() >= deadline:
                    raise AttachmentError(UNAVAILABLE, "not fetched in time")
    return bytes(content), reply.get("ContentType", "")


def presigned_url(url: str) -> str:
    """Return an http:// or https:// address that gives anyone read access to an object for an hour.

    It is computed here, without a request to the storage.

    Raises:
        AttachmentError: the address is not valid, or no credentials are configured.
    """
    with _s3_errors():
        client = _client(settings().s3_endpoint, settings().s3_region)
        address = client.generate_presigned_url(
            "get_object", Params=_location(url), ExpiresIn=PRESIGNED_FOR.seconds
        )
    return str(address)


def _location(url: str) -> dict[str, str]:
    found = _ADDRESS.fullmatch(url)
    if found is None:
        raise AttachmentError(ADDRESS)
    return {"Bucket": found[1], "Key": found[2]}


# Each client has its own session: the default session of boto3 is not thread-safe.
@cache
def _client(endpoint: str | None, region: str | None) -> Any:
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name=region,
        config=Config(
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            read_timeout=READ_TIMEOUT_SECONDS,
            # The whole message is retried, as its agent configures.
            retries={"total_max_attempts": 1, "mode": "standard"},
            proxies={},
            signature_version="s3v4",
            # Not every storage supports buckets as host names, or checksums.
            s3={"addressing_style": "path" if endpoint else "auto"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


@contextmanager
def _s3_errors() -> Iterator[None]:
    """Turn errors of boto3 into AttachmentError, without their texts, which quote addresses."""
    try:
        yield
    except boto.ClientError as error:
        raise _classify(error) from None
    except (
        boto.ConnectionError,
        boto.HTTPClientError,
        boto.IncompleteReadError,
        boto.FlexibleChecksumError,
    ) as error:
        raise AttachmentError(UNAVAILABLE, type(error).__name__) from None
    except boto.BotoCoreError as error:
        raise AttachmentError(STORAGE, type(error).__name__) from None


def _classify(error: boto.ClientError) -> AttachmentError:
    name = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = CODE_OF_ERROR.get(name)
    if code is None:
        code = UNAVAILABLE if status >= 500 else CODE_OF_STATUS.get(status, REFUSED)
    return AttachmentError(code, f"the storage responded with status {status} {name[:50]}")
