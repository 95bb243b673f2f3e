import socket
from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Connection, text

from app.api.factory import create_app
from app.queries import health as probes


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says a word, as a frozen server does."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def _scanned(connection: Connection, ago: str = "0 seconds") -> None:
    connection.execute(
        text("UPDATE scheduler_state SET last_scan_at = now() - CAST(:ago AS interval)"),
        {"ago": ago},
    )


def _insert(connection: Connection, **columns: str) -> None:
    connection.execute(
        text(
            "INSERT INTO conversations (channel_family, participants)"
            " VALUES ('email', '{a@example.org}') ON CONFLICT DO NOTHING"
        )
    )
    given = {
        "channel": "'email'",
        "agent": "'smtp'",
        "recipient": "'a@example.org'",
        "conversation_id": "1",
        **columns,
    }
    connection.execute(
        text(f"INSERT INTO messages ({', '.join(given)}) VALUES ({', '.join(given.values())})")
    )


def test_a_healthy_postroom_is_up(anonymous: FlaskClient, connection: Connection) -> None:
    _scanned(connection)
    health = anonymous.get("/health").get_json()
    assert health.pop("last_scan_age_seconds") >= 0
    assert health == {
        "status": "up",
        "database": "up",
        "redis": "up",
        "scheduler": "running",
        "oldest_due_age_seconds": None,
        "paused_agents": [],
    }


LATE = {"due_at": "now() - interval '6 minutes'"}
QUEUED = {**LATE, "status": "'queued'", "lease_until": "now() + interval '1 minute'"}


@pytest.mark.parametrize(
    ("scanned", "message", "sql", "status"),
    [
        ("10 minutes", None, None, "degraded"),
        ("10 minutes", None, "UPDATE scheduler_state SET running = false", "up"),
        ("1 second", LATE, None, "degraded"),
        ("1 second", QUEUED, None, "degraded"),
        ("1 second", {**LATE, "agent": "NULL"}, None, "degraded"),
        ("1 second", {**LATE, "priority": "3"}, None, "degraded"),
        ("1 second", LATE, "UPDATE scheduler_state SET running = false", "up"),
        (
            "1 second",
            LATE,
            "INSERT INTO agent_states (agent, paused, changed_by) VALUES ('smtp', true, 'x')",
            "up",
        ),
        ("1 second", {"due_at": "now() - interval '1 minute'"}, None, "up"),
        ("1 second", {"due_at": "now() + interval '1 hour'"}, None, "up"),
        ("1 second", {**LATE, "status": "'failed'"}, None, "up"),
    ],
)
def test_messages_that_do_not_move_show(
    anonymous: FlaskClient,
    connection: Connection,
    scanned: str,
    message: dict[str, str] | None,
    sql: str | None,
    status: str,
) -> None:
    _scanned(connection, scanned)
    if message is not None:
        _insert(connection, **message)
    if sql is not None:
        connection.execute(text(sql))
    assert anonymous.get("/health").get_json()["status"] == status


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(
    ("variable", "url", "part"),
    [
        ("DATABASE_URL", "postgresql://postroom@127.0.0.1:{port}/postroom", "database"),
        ("REDIS_URL", "redis://127.0.0.1:{port}/0", "redis"),
    ],
)
def test_a_server_that_is_down_or_frozen_shows_in_time(
    environment: pytest.MonkeyPatch,
    database: str,
    redis_url: str,
    silent_port: int,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    url: str,
    part: str,
    frozen: bool,
) -> None:
    monkeypatch.setattr(probes, "DEADLINE_SECONDS", 0.5)
    environment.setenv(variable, url.format(port=silent_port if frozen else 9))
    _settings_anew()
    client = create_app().test_client()
    response = client.get("/health")
    assert response.status_code == 200
    health = response.get_json()
    assert health["status"] == "degraded"
    assert {name: health[name] for name in ("database", "redis")} == {
        "database": "up", "redis": "up", part: "down",
    }  # fmt: skip
    assert client.get("/health/live").status_code == 200
    assert client.get("/health/ready").status_code == (503 if part == "database" else 200)


def test_a_database_that_is_not_migrated_is_not_ready(empty_database: str, redis_url: str) -> None:
    client = create_app().test_client()
    assert client.get("/health").get_json()["database"] == "not migrated"
    response = client.get("/health/ready")
    assert response.status_code == 503
    assert response.content_type == "application/problem+json"


def test_a_database_of_another_revision_is_not_ready(
    anonymous: FlaskClient, connection: Connection
) -> None:
    assert anonymous.get("/health/ready").status_code == 200
    revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
    change = text("UPDATE alembic_version SET version_num = :revision")
    connection.execute(change, {"revision": "older"})
    try:
        assert anonymous.get("/health/ready").status_code == 503
    finally:
        connection.execute(change, {"revision": revision})


def test_the_metrics_tell_how_each_agent_stands(
    client: FlaskClient, connection: Connection
) -> None:
    _scanned(connection)
    _insert(connection)
    _insert(connection, status="'failed'", finished_at="now()")
    _insert(connection, status="'sending'", lease_until="now() + interval '1 minute'")
    response = client.get("/metrics")
    assert response.content_type.startswith("text/plain")
    figures = _figures(response.text)
    for name in ("waiting", "in_flight", "failed"):
        assert figures[f'postroom_messages_{name}{{agent="smtp"}}'] == 1
        assert figures[f'postroom_messages_{name}{{agent="gateway"}}'] == 0
    assert figures["postroom_scheduler_running"] == 1
    assert "postroom_last_scan_age_seconds" in figures


def test_the_metrics_count_receipts_also_those_of_unknown_kinds(
    client: FlaskClient, connection: Connection
) -> None:
    said = text("INSERT INTO receipts (agent, key, kind) VALUES ('gateway', :key, :kind)")
    kinds = ("delivered", "delivered", "unrecognised")
    connection.execute(said, [{"key": n, "kind": kind} for n, kind in enumerate(kinds)])
    connection.execute(
        text("UPDATE receipts SET received_at = now() - interval '61 minutes' WHERE key = '0'")
    )
    figures = _figures(client.get("/metrics").text)
    for kind in ("delivered", "unrecognised"):
        assert figures[f'postroom_receipts{{agent="gateway",kind="{kind}"}}'] == 1


def _figures(exposition: str) -> dict[str, float]:
    lines = (line.rsplit(" ", 1) for line in exposition.splitlines() if line[0] != "#")
    return {name: float(value) for name, value in lines}


def _settings_anew() -> None:
    from app import db
    from app.settings import settings

    settings.cache_clear()
    db.close()
