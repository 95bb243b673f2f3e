"""Real servers for every test: one PostgreSQL and one Valkey a test process, and within them an
empty, migrated database and an empty Redis for each test that asks."""

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import redis
from sqlalchemy import Connection, NullPool, create_engine, text

from app import db, migrate
from app import settings as settings_module
from app.agents import Agents, agents
from app.local.servers import PostgresServer, ValkeyServer
from app.models import Base
from tests.servers import postgres, valkey

hypothesis.settings.register_profile("postroom", deadline=None)  # no test is about time
hypothesis.settings.load_profile("postroom")

# Whoever a test left connected would keep its database from the next one.
OTHERS_OUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = '{}' AND usename = current_user AND pid <> pg_backend_pid()
"""
# Together with DELETE four times as fast as TRUNCATE, which makes each index anew.
RESTART_IDS = """
SELECT setval(pg_get_serial_sequence(table_name, column_name), 1, false)
FROM information_schema.columns WHERE table_schema = 'public' AND is_identity = 'YES'
"""
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long by itself, or one process would still be at it at the end."""
    slow = ("tests/scenarios/", "tests/faults/", "tests/app/outbox/test_promises.py")
    items.sort(key=lambda item: not item.nodeid.startswith(slow))


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def agents_file(tmp_path: Path) -> Path:
    """The agents of the test; write other ones into it before anything reads them."""
    file = tmp_path / "agents.toml"
    file.write_text(AGENTS)
    return file


def _forget_settings() -> None:
    """What a process reads once, each test reads anew."""
    db.close()
    for cached in (settings_module.settings, agents):
        cached.cache_clear()


@pytest.fixture
def environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, agents_file: Path
) -> Iterator[pytest.MonkeyPatch]:
    """An environment without any setting of the one that runs the tests."""
    for name in [*os.environ]:
        if name.startswith("POSTROOM_") or name in {"DATABASE_URL", "REDIS_URL"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("POSTROOM_AGENTS_FILE", str(agents_file))
    monkeypatch.setenv("POSTROOM_VAR", str(tmp_path / "var"))
    _forget_settings()
    yield monkeypatch
    _forget_settings()


@pytest.fixture
def empty_database(
    environment: pytest.MonkeyPatch, postgres_server: PostgresServer
) -> Iterator[str]:
    """The address of a database with nothing in it, which `app.db` uses."""
    name = f"test_{os.urandom(6).hex()}"
    _administer(postgres_server, "postgres", f"CREATE DATABASE {name}")
    environment.setenv("DATABASE_URL", _url_of(postgres_server, name))
    yield _url_of(postgres_server, name)
    db.close()
    # Not WITH (FORCE), which may not end an autovacuum worker; without it, PostgreSQL does.
    _administer(postgres_server, "postgres", OTHERS_OUT.format(name))
    _administer(postgres_server, "postgres", f"DROP DATABASE {name}")


@pytest.fixture(scope="session")
def migrated_database(postgres_server: PostgresServer) -> str:
    """The name of a migrated database."""
    _administer(postgres_server, "postgres", "CREATE DATABASE migrated")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("DATABASE_URL", _url_of(postgres_server, "migrated"))
        _forget_settings()
        migrate.upgrade()
        _forget_settings()
    return "migrated"


@pytest.fixture
def database(
    environment: pytest.MonkeyPatch, postgres_server: PostgresServer, migrated_database: str
) -> Iterator[str]:
    """The address of a migrated database with no row in it, which `app.db` uses."""
    environment.setenv("DATABASE_URL", _url_of(postgres_server, migrated_database))
    yield _url_of(postgres_server, migrated_database)
    db.close()
    _administer(
        postgres_server,
        migrated_database,
        OTHERS_OUT.format(migrated_database),
        *(f"DELETE FROM {table.name}" for table in reversed(Base.metadata.sorted_tables)),
        RESTART_IDS,
        "INSERT INTO scheduler_state DEFAULT VALUES",
    )


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    """A connection to `database` where each statement is its own transaction."""
    with db.autocommit() as connection:
        yield connection


@pytest.fixture
def redis_url(environment: pytest.MonkeyPatch, valkey_server: ValkeyServer) -> str:
    """The address of an empty Redis, which the settings name."""
    with redis.Redis.from_url(valkey_server.url) as client:
        client.flushall()
    environment.setenv("REDIS_URL", valkey_server.url)
    return valkey_server.url


@pytest.fixture
def loaded_agents(environment: pytest.MonkeyPatch) -> Iterator[Agents]:
    """The agents of `agents_file`."""
    yield agents()
    agents().close()


def _administer(server: PostgresServer, database: str, *statements: str) -> None:
    engine = create_engine(
        _url_of(server, database), isolation_level="AUTOCOMMIT", poolclass=NullPool
    )
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))


def _url_of(server: PostgresServer, name: str) -> str:
    return f"postgresql+psycopg2://{server.url.partition('://')[2].rpartition('/')[0]}/{name}"
