"""Throwaway PostgreSQL and Valkey servers on free ports, with settings that favour speed."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
import pytest

from app import db
from app import migrate as migrations
from app.local.servers import PostgresServer, ValkeyServer, free_port
from app.settings import settings


@contextmanager
def postgres(folder: Path, *, durable: bool = False) -> Iterator[PostgresServer]:
    """Run a PostgreSQL with an empty database `postroom`, its data in `folder`/postgres."""
    server = PostgresServer(folder / "postgres", free_port(), durable=durable)
    server.start()
    try:
        _speed_up_login(server.url)
        yield server
    finally:
        server.kill()


def migrate(url: str) -> None:
    """Bring the database at `url` to the current schema."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("DATABASE_URL", url)
        _clear_caches()
        migrations.upgrade()
        _clear_caches()


@contextmanager
def read_only(url: str) -> Iterator[None]:
    """Make a database read-only for new connections; `app.db` connects again.

    After the block, new connections may write again. Those of `app.db` stay open and read-only.
    """
    _alter(url, "SET default_transaction_read_only = on")
    db.close()
    try:
        yield
    finally:
        _alter(url, "RESET default_transaction_read_only")


def _alter(url: str, change: str) -> None:
    name = urlsplit(url).path.strip("/")
    with closing(
        psycopg2.connect(
            url.replace("+psycopg2", ""), options="-c default_transaction_read_only=off"
        )
    ) as connection:
        connection.autocommit = True
        connection.cursor().execute(f"ALTER DATABASE {name} {change}")


def _clear_caches() -> None:
    db.close()
    settings.cache_clear()


def _speed_up_login(url: str) -> None:
    """Hash the password once instead of 4,096 times, which halves the time to connect."""
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("SET scram_iterations = 1")
        cursor.execute("ALTER ROLE postroom PASSWORD %s", (urlsplit(url).password,))


@contextmanager
def valkey(folder: Path) -> Iterator[ValkeyServer]:
    """Run an empty Valkey that stores nothing on disk, its folder `folder`/valkey."""
    server = ValkeyServer(folder / "valkey", free_port(), durable=False)
    server.start()
    try:
        yield server
    finally:
        server.kill()
