"""Fixtures for all tests: real servers, and an empty database and Redis for each test.

Each test process starts one PostgreSQL and one Valkey, and only if a test asks for them.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import closing
from functools import cache, partial
from pathlib import Path
from typing import Any

import hypothesis
import psycopg2
import pytest
import redis
from sqlalchemy import Connection

from app import db
from app import settings as settings_module
from app.agents import Agents, agents
from app.local.servers import PostgresServer, ValkeyServer
from app.models import Base
from tests.servers import migrate, postgres, valkey

# So that neither pytest nor the processes that tests start compile all modules at every start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

hypothesis.settings.register_profile("postroom", deadline=None)
hypothesis.settings.load_profile("postroom")

AGENTS = """
[agents.gateway]
connector = "gateway"
channels = ["sms", "mms"]
max_in_flight = 4
retry = { attempts = 3, base_seconds = 2, jitter = 0 }
[agents.gateway.settings]
url = "http://127.0.0.1:9/gateway"
allow_networks = ["loopback"]

[agents.smtp]
connector = "smtp"
max_in_flight = 4
[agents.smtp.settings]
host = "127.0.0.1"
security = "plain"
sender = "Postroom <postroom@example.com>"

[agents.api]
connector = "api"
channels = ["http", "push", "payment"]
on_uncertain = "hold"
[agents.api.settings]
uri = "http://127.0.0.1:9/api"
allow_networks = ["loopback"]
"""

# Deleting many rows can take a minute: the connection has planned its foreign key checks for few.
MAX_DELETE_BYTES = 1_000_000

MAX_DELETE_BYTES = 1_000_000
SLOWEST_FIRST = (
    "tests/app/outbox/test_promises.py",
    "tests/faults/test_redis.py",
    "tests/faults/test_postgres.py",
    "tests/app/local/test_up.py",
    "tests/faults/",
    "tests/scenarios/",
    "tests/app/local/",
    "tests/app/api/test_openapi.py",
)


class MigratedDatabase:
    """A migrated database, and a connection that stays open to reset it."""

    def __init__(self, server: PostgresServer, name: str) -> None:
        self.url = _url(server, name)
        self._connect = partial(_connect, server, name)
        self._connection = self._connect()

    def reset(self) -> None:
        """Delete all rows and restart all identity columns, in one round trip.

        Connections that a test left open are closed first, since they may hold locks. TRUNCATE
        creates all indexes anew, so for few rows DELETE is several times faster.
        """
        try:
            self._execute(_reset_statement())
        except psycopg2.OperationalError:  # the test has closed all connections
            self._connection = self._connect()
            self._execute(_reset_statement())

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _execute(self, statement: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)


@cache
def _reset_statement() -> str:
    tables = [*reversed(Base.metadata.sorted_tables)]
    names = [table.name for table in tables]
    size = " + ".join(f"pg_relation_size('{name}')" for name in names)
    deletes = [f"IF EXISTS (SELECT FROM {name}) THEN DELETE FROM {name}; END IF;" for name in names]
    restarts = [
        f"PERFORM setval(pg_get_serial_sequence('{table.name}', '{column.name}'), 1, false);"
        for table in tables
        for column in table.columns
        if column.identity
    ]
    return f"""
        DO $$ BEGIN
            PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND usename = current_user
                AND pid <> pg_backend_pid();
            IF {size} > {MAX_DELETE_BYTES} THEN
                TRUNCATE {", ".join(names)};
            ELSE
                {" ".join(deletes)}
            END IF;
            {" ".join(restarts)}
            INSERT INTO scheduler_state DEFAULT VALUES;
        END $$
    """


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the slowest modules first, so that all test processes finish at about the same time."""

    def position(item: pytest.Item) -> int:
        slow = [item.nodeid.startswith(path) for path in SLOWEST_FIRST]
        return slow.index(True) if any(slow) else len(slow)

    items.sort(key=position)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """The PostgreSQL server of this test process."""
    with postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """The Valkey server of this test process."""
    with valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def agents_file(tmp_path: Path) -> Path:
    """The agents file of the test. A test may rewrite it before the agents are loaded."""
    file = tmp_path / "agents.toml"
    file.write_text(AGENTS)
    return file


def _clear_caches() -> None:
    """Drop the settings, agents and connections that a process otherwise reads only once."""
    db.close()
    for cached in (settings_module.settings, agents):
        cached.cache_clear()


@pytest.fixture
def environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, agents_file: Path
) -> Iterator[pytest.MonkeyPatch]:
    """An environment with the test's own agents and without any other Postroom setting."""
    for name in [*os.environ]:
        if name.startswith("POSTROOM_") or name in {"DATABASE_URL", "REDIS_URL"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("POSTROOM_AGENTS_FILE", str(agents_file))
    monkeypatch.setenv("POSTROOM_VAR", str(tmp_path / "var"))
    _clear_caches()
    yield monkeypatch
    _clear_caches()


@pytest.fixture
def empty_database(
    environment: pytest.MonkeyPatch, postgres_server: PostgresServer
) -> Iterator[str]:
    """The URL of a database without tables, which `app.db` uses."""
    name = f"test_{os.urandom(6).hex()}"
    with (
        closing(_connect(postgres_server, "postgres")) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(f"CREATE DATABASE {name}")
        environment.setenv("DATABASE_URL", _url(postgres_server, name))
        yield _url(postgres_server, name)
        db.close()
        # Not WITH (FORCE): the role may not end an autovacuum worker, but a plain DROP may.
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = %s AND usename = current_user",
            (name,),
        )
        cursor.execute(f"DROP DATABASE {name}")


@pytest.fixture(scope="session")
def migrated_database(postgres_server: PostgresServer) -> Iterator[MigratedDatabase]:
    """The database that all tests of this process share, one after the other."""
    name = "migrated"
    with closing(_connect(postgres_server, "postgres")) as connection:
        connection.cursor().execute(f"CREATE DATABASE {name}")
    migrate(_url(postgres_server, name))
    with closing(MigratedDatabase(postgres_server, name)) as database:
        yield database


@pytest.fixture
def database(environment: pytest.MonkeyPatch, migrated_database: MigratedDatabase) -> Iterator[str]:
    """The URL of a migrated database without rows, which `app.db` uses."""
    environment.setenv("DATABASE_URL", migrated_database.url)
    yield migrated_database.url
    db.close()
    migrated_database.reset()


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    """A connection to `database` where each statement is its own transaction."""
    with db.autocommit() as connection:
        yield connection


@pytest.fixture(scope="session")
def valkey_client(valkey_server: ValkeyServer) -> Iterator["redis.Redis"]:
    """A client of the Valkey server of this test process."""
    with redis.Redis.from_url(valkey_server.url) as client:
        yield client


@pytest.fixture
def redis_url(
    environment: pytest.MonkeyPatch, valkey_server: ValkeyServer, valkey_client: "redis.Redis"
) -> str:
    """The URL of an empty Redis, which the settings name."""
    valkey_client.flushall()
    environment.setenv("REDIS_URL", valkey_server.url)
    return valkey_server.url


@pytest.fixture
def loaded_agents(environment: pytest.MonkeyPatch) -> Iterator[Agents]:
    """The agents of `agents_file`."""
    yield agents()
    agents().close()


def _connect(server: PostgresServer, database: str) -> Any:
    """Return a psycopg2 connection where each statement is its own transaction."""
    connection = psycopg2.connect(f"{server.url.rpartition('/')[0]}/{database}")
    connection.autocommit = True
    return connection


def _url(server: PostgresServer, database: str) -> str:
    """Return the URL of a database in SQLAlchemy's form."""
    scheme, _, address = server.url.rpartition("/")[0].partition("://")
    return f"{scheme}+psycopg2://{address}/{database}"
