"""A web server on loopback whose responses are set by the test."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """A response. `length_bytes` overrides its Content-Length; None leaves the header out."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    length_bytes: int | None = -1


@dataclass
class FileServer:
    """Respond to each path in `files` with its response, or with what its function returns.

    Functions run in one thread for each connection. All other paths get 404.
    """

    port: int
    files: dict[str, Answer | Callable[[Request], Answer]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def hang(self, _request: Request) -> Answer:
        """Do not respond until the test is over."""
        self.stopping.wait()
        return Answer(503)

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        found = self.files.get(request.target.partition("?")[0], Answer(404))
        return found if isinstance(found, Answer) else found(request)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def _any(self) -> None:
        answer = self.server.files.answer(Request(self.command, self.path, self.headers))
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        length = len(answer.body) if answer.length_bytes == -1 else answer.length_bytes
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
        self.close_connection = length != len(answer.body)

    # http.server finds its methods by these names.
    do_GET = do_HEAD = _any  # noqa: N815

    def log_message(self, *args: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    files: FileServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Do not print the disconnects that some tests cause on purpose."""


@contextmanager
def running(make: Callable[[int], FileServer] = FileServer) -> Iterator[FileServer]:
    """Run a server on a free port until the block ends."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.files = make(server.server_port)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.files
        finally:
            server.files.stopping.set()
            server.shutdown()
            thread.join()
