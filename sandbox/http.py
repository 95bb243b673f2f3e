"""The HTTP side of the sandbox: connections, and the choice between answering and failing.

Requests are parsed by httptools, the parser of uvicorn. A full HTTP server costs two to three times
the CPU per request, which distorts benchmarks that share the machine with the sandbox.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from http import HTTPStatus

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from sandbox.behaviour import Behaviour, Rules
from sandbox.callbacks import send_callbacks
from sandbox.control import control
from sandbox.provider import Delivery, Provider, Request, Response, ResponseError, json_response
from sandbox.received import Outcome, Received

MAX_REQUEST_BYTES = 32 * 1024 * 1024

PHRASES = {status.value: status.phrase for status in HTTPStatus}


class HttpConnection(asyncio.Protocol):
    """One client connection. It handles one request at a time, in the order of arrival.

    `handle(request, connection)` must call `respond` or `close`, at once or later; the client gets
    no response until then.
    """

    transport: asyncio.Transport

    def __init__(self, handle: "Callable[[Request, HttpConnection], None]") -> None:
        self._handle = handle
        self._parser = HttpRequestParser(self)
        self._unparsed_bytes = 0
        self._waiting: deque[Request] = deque()
        self._current: Request | None = None
        self._keep_alive = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - only narrows the type
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._unparsed_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self._reject(400, f"not a valid HTTP request: {error}")
            return
        if self._unparsed_bytes > MAX_REQUEST_BYTES:
            self._reject(413, f"the request is larger than {MAX_REQUEST_BYTES} bytes")
            return
        self._handle_waiting()

    # Called by the parser.

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._unparsed_bytes = 0
        self._keep_alive = self._parser.should_keep_alive()
        method = self._parser.get_method().decode()
        path, _, query = self._url.decode("latin-1").partition("?")
        self._waiting.append(Request(method, path, query, self._headers, b"".join(self._body)))

    # Called by the handler.

    def respond(self, response: Response) -> None:
        """Respond to the current request, unless the client has disconnected."""
        request, self._current = self._current, None
        if request is None or self.transport.is_closing():
            return
        self._write(response, with_body=request.method != "HEAD")
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._handle_waiting)
        elif not self._keep_alive:
            self.close()

    def close(self) -> None:
        """Close the connection after everything written so far has been sent."""
        self.transport.close()

    def _handle_waiting(self) -> None:
        while self._waiting and self._current is None and not self.transport.is_closing():
            self._current = self._waiting.popleft()
            self._handle(self._current, self)

    def _reject(self, status: int, error: str) -> None:
        self._write(json_response(status, {"error": error}), with_body=True)
        self.close()

    def _write(self, response: Response, *, with_body: bool) -> None:
        head = (
            f"HTTP/1.1 {response.status} {PHRASES.get(response.status, '')}\r\n"
            f"Content-Type: {response.content_type}\r\n"
            f"Content-Length: {len(response.body)}\r\n"
            + "".join(f"{name}: {value}\r\n" for name, value in response.headers.items())
            + "\r\n"
        )
        self.transport.write(head.encode("latin-1") + (response.body if with_body else b""))


class HttpApp:
    """Pass each request to its provider, or to the sandbox's own paths."""

    def __init__(self, providers: Sequence[Provider], received: Received, rules: Rules) -> None:
        self._providers = {provider.path: provider for provider in providers}
        self._received = received
        self._rules = rules

    def handle(self, request: Request, connection: HttpConnection) -> None:
        """Respond to `request`, or fail as the rule or the magic recipient demands."""
        provider = self._providers.get("/" + request.path[1:].partition("/")[0])
        try:
            if provider is None:
                connection.respond(control(request, self._received, self._rules))
                return
            found = provider.read(request)
        except ResponseError as error:
            connection.respond(error.response)
            return
        if isinstance(found, Response):
            connection.respond(found)
        else:
            self._deliver(provider, found, connection)

    def _deliver(self, provider: Provider, delivery: Delivery, connection: HttpConnection) -> None:
        behaviour = self._rules.choose(provider.kind, delivery.to, delivery.key or "")
        if behaviour.drop == "before":
            connection.close()
        elif behaviour.status is not None:
            self._record(provider, delivery, "refused")
            connection.respond(_error_response(behaviour, behaviour.status))
        elif behaviour.hang:
            self._record(provider, delivery, "hung")
        elif behaviour.drop == "after":
            self._record(provider, delivery, "dropped")
            connection.close()
            _accept(delivery)
        else:
            self._record(provider, delivery, "accepted")
            if behaviour.slow_seconds is None:
                connection.respond(delivery.response)
            else:
                loop = asyncio.get_running_loop()
                loop.call_later(behaviour.slow_seconds, connection.respond, delivery.response)
            _accept(delivery)

    def _record(self, provider: Provider, delivery: Delivery, outcome: Outcome) -> None:
        self._received.add(provider.kind, outcome, (delivery.to,), delivery.key, delivery.details)


def _accept(delivery: Delivery) -> None:
    delivery.on_accepted()
    send_callbacks(*delivery.callbacks)


def _error_response(behaviour: Behaviour, status: int) -> Response:
    body = behaviour.body
    if body is None:
        body = {"error": PHRASES.get(status, "Refused")}
    headers = {}
    if behaviour.retry_after_seconds is not None:
        headers["Retry-After"] = str(behaviour.retry_after_seconds)
    if isinstance(body, str):
        return Response(status, body.encode(), "text/plain; charset=utf-8", headers)
    return json_response(status, body, headers)
