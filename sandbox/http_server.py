"""HTTP/1.1 as far as the sandbox needs it (RFC 9112): keep-alive, Content-Length bodies.

Written by hand because the sandbox shares its machine with what is being measured: a request
costs a third of the time that tornado takes for it.
"""

import asyncio
from collections.abc import Callable
from http import HTTPStatus

from sandbox.provider import Answer, Request, json_answer

HEAD_LIMIT_BYTES = 64 * 1024
BODY_LIMIT_BYTES = 32 * 1024 * 1024

PHRASES = {status.value: status.phrase for status in HTTPStatus}


class BadRequestError(Exception):
    """The bytes are no request that we could read on after; `status` says why."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status = status


class Connection(asyncio.Protocol):
    """One client. `handle(request, connection)` is called for a request at a time and sees to it
    that `answer` or `close` is called, at once, later or never."""

    transport: asyncio.Transport

    def __init__(self, handle: "Callable[[Request, Connection], None]") -> None:
        self._handle = handle
        self._buffer = bytearray()
        self._in_hand: Request | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - only narrows the type
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._serve()

    def answer(self, answer: Answer) -> None:
        """Answers the request in hand; does nothing once the client has gone."""
        request, self._in_hand = self._in_hand, None
        if request is None or self.transport.is_closing():
            return
        self._write(answer, with_body=request.method != "HEAD")
        if request.headers.get("connection", "").lower() == "close":
            self.close()
        elif self._buffer:
            # Not by a direct call: a client that sends many requests ahead would nest them all.
            asyncio.get_running_loop().call_soon(self._serve)

    def close(self) -> None:
        """Closes the connection once all that was written has left."""
        self.transport.close()

    def _serve(self) -> None:
        if self._in_hand is not None or self.transport.is_closing():
            return
        try:
            request = take_request(self._buffer)
        except BadRequestError as bad:
            self._write(json_answer(bad.status, {"error": str(bad)}), with_body=True)
            self.close()
            return
        if request is not None:
            self._in_hand = request
            self._handle(request, self)

    def _write(self, answer: Answer, *, with_body: bool) -> None:
        head = (
            f"HTTP/1.1 {answer.status} {PHRASES.get(answer.status, '')}\r\n"
            f"Content-Type: {answer.content_type}\r\n"
            f"Content-Length: {len(answer.body)}\r\n"
            + "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
            + "\r\n"
        )
        self.transport.write(head.encode("latin-1") + (answer.body if with_body else b""))


def take_request(buffer: bytearray) -> Request | None:
    """Takes the first request off the buffer; None while it isn't complete. Raises
    BadRequestError."""
    head_end = buffer.find(b"\r\n\r\n", 0, HEAD_LIMIT_BYTES)
    if head_end < 0:
        if len(buffer) >= HEAD_LIMIT_BYTES:
            raise BadRequestError(431, "the header is too long")
        return None
    request_line, *lines = buffer[:head_end].decode("latin-1").split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body_start = head_end + 4
    body_end = body_start + _body_length(headers)
    if len(buffer) < body_end:
        return None
    match request_line.split(" "):
        case [method, target, "HTTP/1.1"]:
            path, _, query = target.partition("?")
        case _:
            raise BadRequestError(400, "expected an HTTP/1.1 request line")
    body = bytes(buffer[body_start:body_end])
    del buffer[:body_end]
    return Request(method, path, query, headers, body)


def _body_length(headers: dict[str, str]) -> int:
    if "transfer-encoding" in headers:
        raise BadRequestError(411, "chunked bodies are not read: send a Content-Length")
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        raise BadRequestError(400, "Content-Length: expected a number")
    if len(length) > 12 or int(length) > BODY_LIMIT_BYTES:
        raise BadRequestError(413, "the body is too long")
    return int(length)
