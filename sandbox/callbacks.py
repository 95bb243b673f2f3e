"""Call Postroom's webhooks, as providers do to report deliveries and inbound messages."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.simple_httpclient import SimpleAsyncHTTPClient

TIMEOUT_SECONDS = 15
# Like a real provider, not before the client has stored the response to its request.
WAIT_SECONDS = (0.05, 0.2, 0.5, 1)
MAX_IN_FLIGHT = 16


@dataclass(frozen=True, slots=True)
class CallbackRequest:
    """An HTTP request to send; its body is sent byte for byte, as it was signed."""

    url: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "POST"


_running: set[asyncio.Task[None]] = set()
_capacity = asyncio.Semaphore(MAX_IN_FLIGHT)


def send_callbacks(*requests: CallbackRequest) -> None:
    """Send these requests in the background, one after the other.

    Each is repeated up to three times after a 5xx, a 429 or a connection error, then given up with
    a line on stderr. Requires a running event loop.
    """
    if requests:
        task = asyncio.get_running_loop().create_task(_send_all(requests))
        # The event loop itself holds only a weak reference to a task.
        _running.add(task)
        task.add_done_callback(_running.discard)


async def _send_all(requests: Sequence[CallbackRequest]) -> None:
    async with _capacity:
        for request in requests:
            await _send(request)


async def _send(request: CallbackRequest) -> None:
    problem = ""
    for wait_seconds in WAIT_SECONDS:
        await asyncio.sleep(wait_seconds)
        try:
            status = await _status_of(request)
        except (HTTPClientError, OSError, ValueError) as error:
            problem = str(error) or type(error).__name__
        else:
            if status < 500 and status != 429:
                return
            problem = str(status)
    # The query may hold a signature or a password.
    address = request.url.partition("?")[0]
    sys.stderr.write(f"sandbox: gave up calling {address}: {problem}\n")


async def _status_of(request: CallbackRequest) -> int:
    response = await SimpleAsyncHTTPClient().fetch(
        HTTPRequest(
            request.url,
            request.method,
            dict(request.headers),
            None if request.method == "GET" else request.body,
            connect_timeout=TIMEOUT_SECONDS,
            request_timeout=TIMEOUT_SECONDS,
            follow_redirects=False,
        ),
        raise_error=False,
    )
    return response.code
