"""The health of PostgreSQL, Redis and the scheduler."""

import socket
from collections.abc import Iterator

import pytest
import redis
from sqlalchemy import Connection, text

from app import db
from app.queries import health
from app.queries.health import Health, get_database_status, get_health
from app.settings import settings
from tests.app.outbox.driver import Outbox
from tests.servers import read_only

PAUSE_SCHEDULER = "UPDATE scheduler_state SET running = false"
PAUSE_AGENT = "INSERT INTO agent_states (agent, paused, changed_by) VALUES ('smtp', true, 'x')"


@pytest.fixture
def outbox(connection: Connection) -> Outbox:
    return Outbox(connection)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts connections and never responds, like a frozen server."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def _set_last_scan(outbox: Outbox, ago: str) -> None:
    outbox.execute(
        "UPDATE scheduler_state SET last_scan_at = now() - CAST(:ago AS interval)", ago=ago
    )


def test_healthy_postroom_is_up(redis_url: str, outbox: Outbox) -> None:
    _set_last_scan(outbox, "0 seconds")
    found = get_health()
    assert found.last_scan_age_seconds is not None
    assert found.last_scan_age_seconds >= 0
    assert found == Health(
        status="up",
        database="up",
        redis="up",
        scheduler="running",
        last_scan_age_seconds=found.last_scan_age_seconds,
        oldest_due_age_seconds=None,
        paused_agents=[],
    )


def test_postroom_is_degraded_if_messages_are_not_being_sent(
    redis_url: str, outbox: Outbox
) -> None:
    late = {"due_at": "-6 minutes"}
    rows: list[tuple[str, str, str, dict[str, str] | None, str]] = [
        ("no scan", "10 minutes", "", None, "degraded"),
        ("paused", "10 minutes", PAUSE_SCHEDULER, None, "up"),
        ("late", "1 second", "", late, "degraded"),
        ("late and paused", "1 second", PAUSE_SCHEDULER, late, "up"),
        ("late with a paused agent", "1 second", PAUSE_AGENT, late, "up"),
        ("late and queued", "1 second", "", {**late, "status": "queued"}, "degraded"),
        ("late and of low priority", "1 second", "", {**late, "priority": "3"}, "degraded"),
        ("late without an agent", "1 second", "", {**late, "agent": "NULL"}, "degraded"),
        ("just due", "1 second", "", {"due_at": "-1 minute"}, "up"),
        ("not due", "1 second", "", {"due_at": "1 hour"}, "up"),
        ("failed", "1 second", "", {**late, "status": "failed"}, "up"),
    ]
    failures = []
    for name, scanned, sql, message, status in rows:
        _set_last_scan(outbox, scanned)
        if sql:
            outbox.execute(sql)
        if message is not None:
            outbox.execute(
                "INSERT INTO messages (channel, agent, conversation_id, recipient, due_at, status,"
                " priority, lease_until)"
                " VALUES ('email', nullif(:agent, 'NULL'), :conversation, 'a@example.org',"
                "  now() + CAST(:due_at AS interval), :status, :priority,"
                "  CASE :status WHEN 'queued' THEN now() + interval '1 minute' END)",
                conversation=outbox.conversation(),
                **{"agent": "smtp", "status": "outbox", "priority": "2", **message},
            )
        if (found := get_health().status) != status:
            failures.append((name, found))
        outbox.execute("DELETE FROM messages")
        outbox.execute("DELETE FROM agent_states")
        outbox.execute("UPDATE scheduler_state SET running = true")
    assert not failures


@pytest.mark.parametrize("is_frozen", [False, True], ids=["down", "frozen"])
@pytest.mark.parametrize(
    ("variable", "url", "server"),
    [
        ("DATABASE_URL", "postgresql://postroom@127.0.0.1:{port}/postroom", "database"),
        ("REDIS_URL", "redis://127.0.0.1:{port}/0", "redis"),
    ],
)
def test_server_that_is_down_or_frozen_is_reported(
    environment: pytest.MonkeyPatch,
    database: str,
    redis_url: str,
    silent_port: int,
    variable: str,
    url: str,
    server: str,
    is_frozen: bool,
) -> None:
    environment.setattr(health, "DEADLINE_SECONDS", 0.5)
    environment.setenv(variable, url.format(port=silent_port if is_frozen else 9))
    settings.cache_clear()
    db.close()
    found = get_health()
    states = {"database": "up", "redis": "up", server: "down"}
    assert found.status == "degraded"
    assert {"database": found.database, "redis": found.redis} == states
    assert get_database_status() == states["database"]


def test_redis_that_rejects_writes_is_down(
    redis_url: str, valkey_client: "redis.Redis", database: str
) -> None:
    valkey_client.config_set("maxmemory", 1)
    try:
        found = get_health()
    finally:
        valkey_client.config_set("maxmemory", 0)
    assert (found.status, found.redis) == ("degraded", "down")
    assert get_health().redis == "up"


def test_read_only_database_is_reported(database: str, redis_url: str) -> None:
    with read_only(database):
        found = get_health()
        assert (found.status, found.database) == ("degraded", "read_only")
        assert get_database_status() == "read_only"
    assert get_database_status() == "up"


def test_database_without_tables_is_not_migrated(empty_database: str, redis_url: str) -> None:
    assert get_database_status() == "not_migrated"
    assert get_health().database == "not_migrated"


def test_database_of_another_revision_is_not_migrated(connection: Connection) -> None:
    revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
    change = text("UPDATE alembic_version SET version_num = :revision")
    connection.execute(change, {"revision": "older"})
    try:
        assert get_database_status() == "not_migrated"
    finally:
        connection.execute(change, {"revision": revision})
