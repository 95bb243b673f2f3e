"""A proxy in front of PostgreSQL that records queries."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BufferedIOBase
from urllib.parse import urlsplit

TRANSACTION_CONTROL = frozenset({"BEGIN", "COMMIT", "ROLLBACK"})
CHUNK_BYTES = 65536


@dataclass(frozen=True)
class Queries:
    """The first words of all queries, and the URL of the proxy that recorded them."""

    url: str
    words: list[str] = field(default_factory=list)

    @property
    def round_trips(self) -> int:
        """One per query: psycopg2 waits for each, and BEGIN and COMMIT are separate queries."""
        return len(self.words)

    @property
    def statements(self) -> int:
        """The queries other than transaction control."""
        return sum(word not in TRANSACTION_CONTROL for word in self.words)


@contextmanager
def counting_proxy(url: str) -> Iterator[Queries]:
    """Accept connections to the PostgreSQL at `url` until the block ends.

    Connections that are open then continue until they are closed.
    """
    server = urlsplit(url)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with (
                suppress(ConnectionError),
                socket.create_connection((server.hostname or "", server.port or 0)) as upstream,
            ):
                back = threading.Thread(target=_copy, args=(upstream, self.connection), daemon=True)
                back.start()
                for kind, body, packet in _packets(self.rfile):
                    if kind == b"Q":
                        queries.words.append(body.split(maxsplit=1)[0].decode().strip("\0;"))
                    upstream.sendall(packet)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as proxy:
        proxy.daemon_threads = True
        address = server.netloc.replace(f":{server.port}", f":{proxy.server_address[1]}")
        # The proxy cannot read encrypted queries.
        queries = Queries(server._replace(netloc=address, query="sslmode=disable").geturl())
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        try:
            yield queries
        finally:
            proxy.shutdown()


def _packets(stream: BufferedIOBase) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield the kind, the body and the bytes of each packet of a client.

    See the PostgreSQL documentation, "Frontend/Backend Protocol": kind, length, body; the first
    packet has no kind.
    """
    kind_bytes = 0
    while head := stream.read(kind_bytes + 4):
        body = stream.read(int.from_bytes(head[kind_bytes:]) - 4)
        yield head[:kind_bytes], body, head + body
        kind_bytes = 1


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(CHUNK_BYTES):
            sink.sendall(data)
