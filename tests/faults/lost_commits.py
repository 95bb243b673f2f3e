"""A proxy in front of PostgreSQL that can lose the response to a COMMIT, but not the COMMIT."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

CHUNK_BYTES = 65536


@dataclass(frozen=True)
class Proxy:
    """The `url` of the proxy. Once `losing` is set, a client that commits gets no response."""

    url: str
    losing: threading.Event = field(default_factory=threading.Event)


@contextmanager
def proxy_losing_commits(url: str) -> Iterator[Proxy]:
    """Run a proxy in front of the PostgreSQL at `url` until the block ends."""
    server = urlsplit(url)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with (
                suppress(OSError),
                socket.create_connection((server.hostname or "", server.port or 0)) as upstream,
            ):
                muted = threading.Event()
                threading.Thread(target=self._respond, args=(upstream, muted), daemon=True).start()
                while data := self.request.recv(CHUNK_BYTES):
                    # psycopg2 sends COMMIT as a query of its own, and then waits.
                    if b"COMMIT\0" in data and proxy.losing.is_set():
                        muted.set()
                    upstream.sendall(data)

        def _respond(self, upstream: socket.socket, muted: threading.Event) -> None:
            with suppress(OSError):
                while data := upstream.recv(CHUNK_BYTES):
                    if not muted.is_set():
                        self.request.sendall(data)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as listener:
        listener.daemon_threads = True
        address = server.netloc.replace(f":{server.port}", f":{listener.server_address[1]}")
        proxy = Proxy(server._replace(netloc=address, query="sslmode=disable").geturl())
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        try:
            yield proxy
        finally:
            listener.shutdown()
