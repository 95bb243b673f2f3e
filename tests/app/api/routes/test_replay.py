"""Replay by filter."""

from collections import Counter
from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import Connection, text


def _insert(connection: Connection, status: str, count: int = 1, agent: str = "smtp") -> None:
    connection.execute(
        text("""
            INSERT INTO messages (channel, agent, recipient, status)
            SELECT 'email', :agent, 'a@example.org', :status FROM generate_series(1, :count)
        """),
        {"status": status, "count": count, "agent": agent},
    )


def _statuses(connection: Connection) -> Counter[str]:
    return Counter(connection.execute(text("SELECT status FROM messages")).scalars())


def test_replay_only_counts_by_default(client: FlaskClient, connection: Connection) -> None:
    _insert(connection, "failed", 3)
    assert client.post("/api/replay", json={"agent": "smtp"}).get_json() == {
        "dry_run": True, "matched": 3, "replayed": 0, "remaining": 3, "last_id": None,
    }  # fmt: skip
    assert _statuses(connection) == {"failed": 3}


def test_replay_continues_in_batches_until_no_message_is_left(
    client: FlaskClient, connection: Connection
) -> None:
    _insert(connection, "failed", 501)
    _insert(connection, "unknown", 2)
    _insert(connection, "failed", 2, agent="gateway")
    body: dict[str, Any] = {"agent": "smtp", "dry_run": False}
    first = client.post("/api/replay", json=body).get_json()
    assert (first["matched"], first["replayed"], first["remaining"]) == (501, 500, 1)
    second = client.post("/api/replay", json={**body, "after": first["last_id"]}).get_json()
    assert (second["matched"], second["replayed"], second["remaining"]) == (1, 1, 0)
    last = client.post("/api/replay", json={**body, "after": second["last_id"]}).get_json()
    assert last["last_id"] is None
    assert _statuses(connection) == {"outbox": 501, "unknown": 2, "failed": 2}


def test_replay_selects_by_status(client: FlaskClient, connection: Connection) -> None:
    for status in ("failed", "unknown", "cancelled"):
        _insert(connection, status)
    client.post("/api/replay", json={"status": ["unknown", "cancelled"], "dry_run": False})
    assert _statuses(connection) == {"outbox": 2, "failed": 1}


def test_replay_without_a_valid_filter_is_rejected(
    client: FlaskClient, connection: Connection
) -> None:
    rows: list[tuple[dict[str, Any], str]] = [
        ({}, ""),
        ({"dry_run": False}, ""),
        ({"dry_run": False, "agent": None}, ""),
        ({"status": []}, "status"),
        ({"status": ["outbox"]}, "status[0]"),
        ({"status": ["failed"], "dry_run": "no"}, "dry_run"),
        ({"status": ["failed"], "after": "1"}, "after"),
        ({"everything": True}, "everything"),
    ]
    _insert(connection, "failed")
    failures = []
    for body, field in rows:
        response = client.post("/api/replay", json=body)
        errors = response.get_json().get("errors")
        if response.status_code != 422 or errors[0]["field"] != field:
            failures.append((body, response.get_json()))
    assert not failures
    assert _statuses(connection) == {"failed": 1}
