"""Throwaway PostgreSQL and Valkey servers: real ones, on free ports, with fast settings."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.local.servers import PostgresServer, ValkeyServer


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def postgres(tmp: Path) -> Iterator[PostgresServer]:
    """A PostgreSQL with an empty database `postroom`, its data in `tmp`/postgres."""
    server = PostgresServer(tmp / "postgres", free_port(), durable=False)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def valkey(tmp: Path) -> Iterator[ValkeyServer]:
    """An empty Valkey that keeps nothing, its folder `tmp`/valkey."""
    server = ValkeyServer(tmp / "valkey", free_port(), durable=False)
    server.start()
    try:
        yield server
    finally:
        server.kill()
