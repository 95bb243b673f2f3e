"""A web server on loopback whose answers a test writes."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Asked:
    method: str
    target: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """With `length_bytes` it promises another length than its body has; None promises none."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    length_bytes: int | None = -1


@dataclass
class FileServer:
    """Answers each path as `files` says: by an answer, or by what a function makes of a request
    (in a thread of its own for each connection); what is not there by 404."""

    port: int
    files: dict[str, Answer | Callable[[Asked], Answer]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def hang(self, _asked: Asked) -> Answer:
        """No answer until the test is over."""
        self.stopping.wait()
        return Answer(503)

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        found = self.files.get(asked.target.partition("?")[0], Answer(404))
        return found if isinstance(found, Answer) else found(asked)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def _any(self) -> None:
        answer = self.server.files.answer(Asked(self.command, self.path, self.headers))
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

    # http.server looks its methods up by these names.
    do_GET = do_HEAD = _any  # noqa: N815

    def log_message(self, *args: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    files: FileServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that reads no further is what some tests are about."""


@contextmanager
def running(make: Callable[[int], FileServer] = FileServer) -> Iterator[FileServer]:
    """A server that runs meanwhile, on the port that it is given."""
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
