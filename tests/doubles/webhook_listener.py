"""The client's side of webhooks: an HTTP server that records the calls it gets."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import SimpleQueue


@dataclass(frozen=True, slots=True)
class Call:
    """A call; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class WebhookListener:
    """The recorded calls. They are answered with `statuses` in turn, then always with 204."""

    url: str
    statuses: list[int] = field(default_factory=list)
    calls: SimpleQueue[Call] = field(default_factory=SimpleQueue)

    def next_call(self) -> Call:
        """Wait for the next call. Raises `queue.Empty` after 30 seconds."""
        return self.calls.get(timeout=30)


@contextmanager
def running_listener() -> Iterator[WebhookListener]:
    """Listen on a free port until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            listener.calls.put(Call(self.command, self.path, headers, body))
            self.send_response(listener.statuses.pop(0) if listener.statuses else 204)
            self.end_headers()

        do_GET = do_POST  # noqa: N815 - http.server's name

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        listener = WebhookListener(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield listener
        server.shutdown()
        thread.join()
