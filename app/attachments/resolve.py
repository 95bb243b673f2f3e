"""Give a connector the files of a message: their content, or addresses that it can pass on.

A message is never sent without one of its files. If a file cannot be had, the message is retried
or fails, as `app.attachments.errors` says.
"""

import hmac
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

from app.attachments import web
from app.attachments.errors import (
    CHECKSUM,
    NOT_SUPPORTED,
    TOO_LARGE,
    UNAVAILABLE,
    AttachmentError,
)
from app.attachments.media_types import content_type
from app.settings import settings
from connectors.base import Attachment, AttachmentSource, OutboundMessage

FETCH_TIMEOUT = timedelta(seconds=60)
"""The time limit for all files of a message together. The lease of a message with files to fetch
is extended by it."""

MAX_CONCURRENT_FETCHES = 4


def resolve(message: OutboundMessage, sources: frozenset[AttachmentSource]) -> OutboundMessage:
    """Return the message with its files as a connector takes them, within FETCH_TIMEOUT.

    A connector with the source `content` gets the content of each file, fetched if necessary.
    One with `url` alone gets an http:// or https:// address, signed for files in S3.

    Raises:
        Unavailable: a file cannot be fetched for now.
        Rejected: a file does not exist, is too large, or cannot be sent by this connector.
    """
    if not message.attachments:
        return message
    files = dict(enumerate(message.attachments))
    if "content" in sources:
        files = _with_content(files)
    else:
        for number, file in files.items():
            with _errors_of_file(number):
                files[number] = _with_address(file, sources)
    return replace(message, attachments=tuple(files[number] for number in sorted(files)))


@contextmanager
def _errors_of_file(number: int) -> Iterator[None]:
    """Raise the SendError of an AttachmentError, with the file it is about."""
    try:
        yield
    except AttachmentError as error:
        detail = f"attachments[{number}]: {error.detail}"
        raise error.code.error(detail, error.retry_after) from None


def _with_address(file: Attachment, sources: frozenset[AttachmentSource]) -> Attachment:
    if "url" not in sources:
        raise AttachmentError(NOT_SUPPORTED)
    if file.url is None:
        raise AttachmentError(NOT_SUPPORTED, "the agent takes addresses only, not content")
    if file.sha256:
        raise AttachmentError(NOT_SUPPORTED, "sha256 is not checked where the provider fetches")
    url = file.url
    if url.startswith("s3://"):
        from app.attachments import s3  # noqa: PLC0415 - importing boto3 takes time and memory

        url = s3.presigned_url(url)
    return replace(file, url=url, content_type=content_type(file.name, file.content_type))


def _with_content(files: Mapping[int, Attachment]) -> dict[int, Attachment]:
    found = {}
    capacity = settings().attachment_limit_bytes
    for number, file in files.items():
        if file.content is not None:
            with _errors_of_file(number):
                found[number] = _checked(file, file.content)
            capacity -= len(file.content)
    if capacity < 0:
        raise TOO_LARGE.error(TOO_LARGE.meaning)
    if missing := {number: file for number, file in files.items() if number not in found}:
        found |= _fetch_all(missing, capacity)
    return found


def _fetch_all(files: Mapping[int, Attachment], capacity: int) -> dict[int, Attachment]:
    """Return the files with their content, which may be `capacity` bytes together."""
    found = {}
    deadline = time.monotonic() + FETCH_TIMEOUT.total_seconds()
    # A pool for each message: in a shared one, a slow file server would delay all agents.
    pool = ThreadPoolExecutor(min(MAX_CONCURRENT_FETCHES, len(files)), "attachments")
    try:
        fetches = {
            pool.submit(_fetch, number, file, capacity, deadline): number
            for number, file in files.items()
        }
        for fetch in as_completed(fetches, FETCH_TIMEOUT.total_seconds()):
            file, size_bytes = fetch.result()
            capacity -= size_bytes
            if capacity < 0:
                raise TOO_LARGE.error(TOO_LARGE.meaning)
            found[fetches[fetch]] = file
    except TimeoutError:
        raise UNAVAILABLE.error(f"not fetched within {FETCH_TIMEOUT.seconds} s") from None
    finally:
        # Fetches that are still running end by their own timeouts.
        pool.shutdown(wait=False, cancel_futures=True)
    return found


def _fetch(number: int, file: Attachment, capacity: int, deadline: float) -> tuple[Attachment, int]:
    """Return the file with its content, and the size of the content in bytes."""
    url = file.url or ""
    with _errors_of_file(number):
        if url.startswith("s3://"):
            from app.attachments import s3  # noqa: PLC0415 - importing boto3 takes time and memory

            content, served_type = s3.fetch(url, capacity, deadline)
        else:
            content, served_type = web.fetch(url, deadline)
        return _checked(file, content, served_type), len(content)


def _checked(file: Attachment, content: bytes, served_type: str = "") -> Attachment:
    """Return the file with its content, after checking the checksum."""
    if file.sha256 and not hmac.compare_digest(sha256(content).hexdigest(), file.sha256.lower()):
        raise AttachmentError(CHECKSUM)
    media_type = content_type(file.name, file.content_type, served_type)
    return replace(file, content=content, content_type=media_type)
