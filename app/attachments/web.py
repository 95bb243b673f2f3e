"""Fetch files from web servers."""

import time
from collections.abc import Mapping
from functools import cache
from urllib.parse import urldefrag, urljoin, urlsplit

from pydantic import TypeAdapter

from app.attachments.errors import (
    ADDRESS,
    FORBIDDEN,
    NETWORK,
    NOT_FOUND,
    REFUSED,
    TOO_LARGE,
    UNAVAILABLE,
    AttachmentError,
)
from app.settings import settings
from connectors.base import ErrorCode, Misconfigured, Unavailable, Uncertain
from connectors.toolkit.guard import Networks
from connectors.toolkit.http import HttpClient, HttpSettings, HttpUrl, Response

MAX_REDIRECTS = 3
REQUEST_TIMEOUT_SECONDS = 60
REDIRECTS = frozenset({301, 302, 303, 307, 308})
CODE_OF_STATUS: Mapping[int, ErrorCode] = {
    401: FORBIDDEN,
    403: FORBIDDEN,
    404: NOT_FOUND,
    408: UNAVAILABLE,
    410: NOT_FOUND,
    425: UNAVAILABLE,
    429: UNAVAILABLE,
}

_ADDRESS: TypeAdapter[str] = TypeAdapter(HttpUrl)


def fetch(url: str, deadline: float) -> tuple[bytes, str]:
    """Return the content at `url` and the media type that its server declares.

    After `deadline`, in seconds of `time.monotonic()`, no redirect is followed.

    Raises:
        AttachmentError: the file cannot be fetched.
    """
    for _ in range(1 + MAX_REDIRECTS):
        if time.monotonic() >= deadline:
            raise AttachmentError(UNAVAILABLE, "redirected until the time limit")
        reply = _request(url)
        if reply.status in REDIRECTS:
            url = _redirect_target(url, reply)
        elif reply.status != 200:
            raise _classify(reply)
        elif reply.truncated:
            raise AttachmentError(TOO_LARGE)
        else:
            return reply.body, reply.headers.get("Content-Type", "")
    raise AttachmentError(REFUSED, f"redirected more than {MAX_REDIRECTS} times")


def _request(url: str) -> Response:
    client = _client(settings().attachment_limit_bytes, settings().attachment_networks)
    try:
        return client.request("GET", _ADDRESS.validate_python(urldefrag(url).url))
    except ValueError:
        raise AttachmentError(ADDRESS) from None
    except Misconfigured:
        raise AttachmentError(NETWORK) from None
    except (Unavailable, Uncertain) as error:
        raise AttachmentError(UNAVAILABLE, str(error)) from None


@cache
def _client(limit_bytes: int, networks: Networks) -> HttpClient:
    return HttpClient(
        HttpSettings(
            total_timeout_seconds=REQUEST_TIMEOUT_SECONDS,
            response_limit_bytes=limit_bytes,
            allow_networks=networks,
        )
    )


def _redirect_target(url: str, reply: Response) -> str:
    try:
        target = urljoin(url, reply.headers["Location"])
        leaves_https = urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https"
    except (KeyError, ValueError):
        raise AttachmentError(REFUSED, "redirected without a valid address") from None
    if leaves_https:
        raise AttachmentError(REFUSED, "redirected from https to another scheme")
    return target


def _classify(reply: Response) -> AttachmentError:
    code = UNAVAILABLE if reply.status >= 500 else CODE_OF_STATUS.get(reply.status, REFUSED)
    detail = f"the file server responded with status {reply.status}"
    return AttachmentError(code, detail, reply.retry_after)
