"""A provider on loopback that responds or misbehaves as a test requires."""

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from connectors.base import OutboundMessage
from connectors.toolkit.http import HttpClient, HttpSettings
from sandbox.client import RunningSandbox
from tests.doubles.client import running_doubles
from tests.doubles.webhook_listener import WebhookListener, running_listener


@dataclass
class Received:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Provider:
    """A server, its requests so far, and its behaviour.

    Each of the methods below changes the behaviour for all further requests.
    """

    port: int
    scheme: str = "http"
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    stopping: threading.Event = field(default_factory=threading.Event)
    behave: Callable[["_Handler"], object] = field(init=False)

    def __post_init__(self) -> None:
        self.answer(200)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Send a complete response; `_` in the name of a header stands for `-`."""
        lines = [f"HTTP/1.1 {status} Any", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def send(self, data: bytes, *, then_close: bool = False) -> None:
        """Send only these bytes."""

        def behave(handler: "_Handler") -> None:
            handler.wfile.write(data)
            handler.close_connection = then_close

        self.behave = behave

    def hang(self) -> None:
        """Send nothing until the test ends."""
        self.behave = lambda _: self.stopping.wait()

    def trickle(self, head: bytes, byte: bytes, tail: bytes) -> None:
        """Send `head`, then one `byte` every 20 ms for ten seconds, then `tail`."""

        def behave(handler: "_Handler") -> None:
            handler.wfile.write(head)
            for _ in range(500):
                if self.stopping.wait(0.02):
                    return
                handler.wfile.write(byte)
            handler.wfile.write(tail)

        self.behave = behave

    def reset(self) -> None:
        """Read the request and reset the connection."""

        def behave(handler: "_Handler") -> None:
            linger_for_no_time = struct.pack("ii", 1, 0)
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_for_no_time)
            handler.close_connection = True

        self.behave = behave


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "_Server"

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        provider = self.server.provider
        provider.received.append(Received(self.command, self.path, self.headers, body))
        provider.behave(self)

    # http.server looks its methods up by these names.
    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815

    def log_message(self, *args: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    provider: Provider

    def get_request(self) -> tuple[socket.socket, Any]:
        accepted = super().get_request()
        self.provider.connections += 1
        return accepted

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that have closed the connection, which many tests require."""


@pytest.fixture
def start_provider() -> Iterator[Callable[..., Provider]]:
    """Start providers, with TLS if a context is given."""
    running: list[tuple[_Server, Provider, threading.Thread]] = []

    def start(tls: ssl.SSLContext | None = None) -> Provider:
        server = _Server(("127.0.0.1", 0), _Handler)
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        server.provider = Provider(server.server_port, "https" if tls else "http")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        running.append((server, server.provider, thread))
        return server.provider

    yield start
    for server, provider, thread in running:
        provider.stopping.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def provider(start_provider: Callable[..., Provider]) -> Provider:
    return start_provider()


@pytest.fixture
def make_message() -> Callable[..., OutboundMessage]:
    def make(**fields: Any) -> OutboundMessage:
        defaults = {
            "id": 1,
            "uid": "018f-uid-1",
            "channel": "sms",
            "recipient": "+12015550123",
            "body": "Your code is 4711",
        }
        return OutboundMessage(**{**defaults, **fields})

    return make


@pytest.fixture
def tight_limits() -> dict[str, Any]:
    """Timeouts short enough to wait for, and permission to connect to loopback."""
    return {
        "connect_timeout_seconds": 0.2,
        "read_timeout_seconds": 0.2,
        "total_timeout_seconds": 0.4,
        "allow_networks": ("loopback",),
    }


@pytest.fixture
def make_client(tight_limits: dict[str, Any]) -> Iterator[Callable[..., HttpClient]]:
    clients: list[HttpClient] = []

    def make(**settings: Any) -> HttpClient:
        clients.append(HttpClient(HttpSettings(**{**tight_limits, **settings})))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(make_client: Callable[..., HttpClient]) -> HttpClient:
    return make_client()


@pytest.fixture(scope="session")
def doubles_process() -> Iterator[RunningSandbox]:
    with running_doubles() as running:
        yield running


@pytest.fixture
def doubles(doubles_process: RunningSandbox) -> RunningSandbox:
    """The simulated providers, which have received nothing yet."""
    doubles_process.clear()
    return doubles_process


@pytest.fixture
def listener() -> Iterator[WebhookListener]:
    """A server that records the webhooks of the simulated providers."""
    with running_listener() as running:
        yield running
