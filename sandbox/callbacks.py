"""Calls the client back, as providers do by themselves: receipts, and messages from outside.

A provider puts its `CallbackRequest`s into `Delivery.callbacks`; they are made once the message
is answered, unless a rule has it refused. For calls that no message brings about there is
`call_back`.
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

CALL_SECONDS = 15
GAPS_SECONDS = (0.2, 0.5, 1)
CALLS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class CallbackRequest:
    """One HTTP request to the client, ready to be sent: the body is signed byte for byte."""

    url: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "POST"


_running: set[asyncio.Task[None]] = set()
_slots = asyncio.Semaphore(CALLS_AT_ONCE)


def call_back(*requests: CallbackRequest) -> None:
    """Makes these calls soon, one after the other, and returns at once. Each is repeated up to
    three times after a 5xx, a 429 or no answer; one that is given up is told on stderr. Needs a
    running event loop."""
    if requests:
        task = asyncio.get_running_loop().create_task(_make(requests))
        # The loop itself forgets a task that nobody holds.
        _running.add(task)
        task.add_done_callback(_running.discard)


async def _make(requests: Sequence[CallbackRequest]) -> None:
    async with _slots:
        for request in requests:
            await _call(request)


async def _call(request: CallbackRequest) -> None:
    said = ""
    for gap_seconds in (0, *GAPS_SECONDS):
        await asyncio.sleep(gap_seconds)
        try:
            status = await asyncio.wait_for(_status_of(request), CALL_SECONDS)
        except (OSError, ValueError) as error:
            said = str(error) or type(error).__name__
        else:
            if status < 500 and status != 429:
                return
            said = str(status)
    # The query may hold a signature or a password.
    address = request.url.partition("?")[0]
    sys.stderr.write(f"sandbox: gave up to call {address}: {said}\n")


async def _status_of(request: CallbackRequest) -> int:
    """Sends the request and reads as much of the answer as matters. Raises OSError, and
    ValueError for what is no URL or no HTTP."""
    parts = urlsplit(request.url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("no http:// or https:// address")
    tls = parts.scheme == "https"
    reader, writer = await asyncio.open_connection(
        parts.hostname, parts.port or (443 if tls else 80), ssl=tls or None
    )
    try:
        headers = {
            "Host": parts.netloc,
            "Connection": "close",
            "Content-Length": str(len(request.body)),
            **request.headers,
        }
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        head = f"{request.method} {target} HTTP/1.1\r\n" + "".join(
            f"{name}: {value}\r\n" for name, value in headers.items()
        )
        writer.write(head.encode("latin-1") + b"\r\n" + request.body)
        await writer.drain()
        version, _, rest = (await reader.readline()).partition(b" ")
        if not version.startswith(b"HTTP/1."):
            raise ValueError("no HTTP answer")
        return int(rest[:3])
    finally:
        writer.close()
