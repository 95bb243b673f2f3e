"""The files of a message as its connector takes them: their bytes, or addresses it can pass on.

A message never goes without a file of its own: where one cannot be had, the message is tried again
or fails, by the rows of `app.attachments.errors`.
"""

import hmac
import mimetypes
import re
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import cache
from hashlib import sha256
from urllib.parse import urldefrag, urljoin, urlsplit

from pydantic import TypeAdapter

from app.attachments.errors import (
    ADDRESS,
    CHECKSUM,
    FORBIDDEN,
    NETWORK,
    NOT_FOUND,
    NOT_TAKEN,
    REFUSED,
    TOO_LARGE,
    UNAVAILABLE,
    AttachmentError,
)
from app.settings import settings
from connectors import base
from connectors.base import ErrorCode
from connectors.toolkit.guard import Networks
from connectors.toolkit.http import HttpClient, HttpSettings, HttpUrl
from connectors.toolkit.http.replies import Response

FETCH_LIMIT = timedelta(seconds=60)
"""The longest that all files of one message may take. The lease of a message that has files to
fetch is longer by this."""

FETCHED_AT_ONCE = 4
MAX_REDIRECTS = 3
REDIRECTS = frozenset({301, 302, 303, 307, 308})
ROW_OF_STATUS: Mapping[int, ErrorCode] = {
    401: FORBIDDEN,
    403: FORBIDDEN,
    404: NOT_FOUND,
    408: UNAVAILABLE,
    410: NOT_FOUND,
    425: UNAVAILABLE,
    429: UNAVAILABLE,
}

MEDIA_TYPE = r"^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(; ?[!-~ ]+)?$"
UNKNOWN_TYPE = "application/octet-stream"
# The first says that nobody knows (RFC 2046, 4.5.1), the second is what S3 says then.
_TELL_NOTHING = frozenset({UNKNOWN_TYPE, "binary/octet-stream"})

Sources = frozenset[base.AttachmentSource]


def resolve(message: base.OutboundMessage, sources: Sources) -> base.OutboundMessage:
    """`message` with its files as a connector with these `sources` takes them: fetched where it
    takes content, else each by an http:// or https:// address, signed where it is in S3.

    Takes no longer than FETCH_LIMIT. Raises Unavailable or Rejected.
    """
    if not message.attachments:
        return message
    files = dict(enumerate(message.attachments))
    if "content" in sources:
        files = _with_content(files)
    else:
        for number, file in files.items():
            with _blaming(number):
                files[number] = _with_address(file, sources)
    return replace(message, attachments=tuple(files[number] for number in sorted(files)))


def content_type(name: str, *said: str) -> str:
    """The first media type of `said` that tells something, else the usual one of the file name."""
    for found in (*said, mimetypes.guess_type(name, strict=False)[0] or ""):
        kind = found.partition(";")[0].lower()
        if re.match(MEDIA_TYPE, found) and kind not in _TELL_NOTHING:
            return found
    return UNKNOWN_TYPE


@contextmanager
def _blaming(number: int) -> Iterator[None]:
    try:
        yield
    except AttachmentError as error:
        detail = f"attachments[{number}]: {error.detail}"
        raise error.row.error(detail, error.retry_after) from None


def _with_address(file: base.Attachment, sources: Sources) -> base.Attachment:
    if "url" not in sources:
        raise AttachmentError(NOT_TAKEN)
    if file.url is None:
        raise AttachmentError(NOT_TAKEN, "the agent takes no content, only addresses")
    if file.sha256:
        raise AttachmentError(NOT_TAKEN, "the provider fetches it, and nobody checks its sha256")
    url = file.url
    if url.startswith("s3://"):
        from app.attachments import s3  # noqa: PLC0415 - boto3 is large, and most never need it

        url = s3.presigned(url)
    return replace(file, url=url, content_type=content_type(file.name, file.content_type))


def _with_content(files: Mapping[int, base.Attachment]) -> dict[int, base.Attachment]:
    found = {}
    room = settings().attachment_limit_bytes
    for number, file in files.items():
        if file.content is not None:
            with _blaming(number):
                found[number] = _checked(file, file.content)
            room -= len(file.content)
    if room < 0:
        raise TOO_LARGE.error(TOO_LARGE.meaning)
    if missing := {number: file for number, file in files.items() if number not in found}:
        found |= _fetched(missing, room)
    return found


def _fetched(files: Mapping[int, base.Attachment], room: int) -> dict[int, base.Attachment]:
    """The files with their content, of at most `room` bytes together."""
    found = {}
    deadline = time.monotonic() + FETCH_LIMIT.total_seconds()
    # A pool for each message: in one for all, the slow server of a few files would hold up the
    # messages of every agent.
    pool = ThreadPoolExecutor(min(FETCHED_AT_ONCE, len(files)), "attachments")
    try:
        fetches = {
            pool.submit(_fetch, number, file, room, deadline): number
            for number, file in files.items()
        }
        for fetch in as_completed(fetches, FETCH_LIMIT.total_seconds()):
            file, size_bytes = fetch.result()
            room -= size_bytes
            if room < 0:
                raise TOO_LARGE.error(TOO_LARGE.meaning)
            found[fetches[fetch]] = file
    except TimeoutError:
        raise UNAVAILABLE.error(f"not fetched within {FETCH_LIMIT.seconds} s") from None
    finally:
        # What still runs ends by limits of its own.
        pool.shutdown(wait=False, cancel_futures=True)
    return found


def _fetch(
    number: int, file: base.Attachment, room: int, deadline: float
) -> tuple[base.Attachment, int]:
    """The file with its content, and the size of that in bytes."""
    url = file.url or ""
    with _blaming(number):
        if url.startswith("s3://"):
            from app.attachments import s3  # noqa: PLC0415 - boto3 is large, and most never need it

            content, said = s3.fetch(url, room, deadline)
        else:
            content, said = _get(url, deadline)
        return _checked(file, content, said), len(content)


def _checked(file: base.Attachment, content: bytes, said: str = "") -> base.Attachment:
    """`file` with this `content`, which its server `said` to be of a type."""
    if file.sha256 and not hmac.compare_digest(sha256(content).hexdigest(), file.sha256.lower()):
        raise AttachmentError(CHECKSUM)
    return replace(
        file, content=content, content_type=content_type(file.name, file.content_type, said)
    )


def _get(url: str, deadline: float) -> tuple[bytes, str]:
    """The bytes at an address and the type that its server says they are."""
    for _ in range(1 + MAX_REDIRECTS):
        if time.monotonic() >= deadline:
            raise AttachmentError(UNAVAILABLE, "redirected until the time was over")
        reply = _request(url)
        if reply.status in REDIRECTS:
            url = _redirected(url, reply)
        elif reply.status == 200 and reply.truncated:
            raise AttachmentError(TOO_LARGE)
        elif reply.status == 200:
            return reply.body, reply.headers.get("Content-Type", "")
        else:
            row = UNAVAILABLE if reply.status >= 500 else ROW_OF_STATUS.get(reply.status, REFUSED)
            wait = reply.retry_after
            raise AttachmentError(row, f"its server answers {reply.status}", wait)
    raise AttachmentError(REFUSED, f"redirected more than {MAX_REDIRECTS} times")


_ADDRESS: TypeAdapter[str] = TypeAdapter(HttpUrl)


def _request(url: str) -> Response:
    client = _client(settings().attachment_limit_bytes, settings().attachment_networks)
    try:
        return client.request("GET", _ADDRESS.validate_python(urldefrag(url).url))
    except ValueError:
        raise AttachmentError(ADDRESS) from None
    except base.Misconfigured:
        raise AttachmentError(NETWORK) from None
    except (base.Unavailable, base.Uncertain) as fault:
        raise AttachmentError(UNAVAILABLE, str(fault)) from None


@cache
def _client(limit_bytes: int, networks: Networks) -> HttpClient:
    return HttpClient(
        HttpSettings(
            total_timeout_seconds=FETCH_LIMIT.total_seconds(),
            response_limit_bytes=limit_bytes,
            allow_networks=networks,
        )
    )


def _redirected(url: str, reply: Response) -> str:
    try:
        target = urljoin(url, reply.headers["Location"])
        is_weaker = urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https"
    except (KeyError, ValueError):
        raise AttachmentError(REFUSED, "redirected to no address") from None
    if is_weaker:
        raise AttachmentError(REFUSED, "redirected from https to another scheme")
    return target
