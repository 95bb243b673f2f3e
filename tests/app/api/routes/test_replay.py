import select
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Connection, text


def _insert(connection: Connection, status: str, number: int = 1, agent: str = "smtp") -> None:
    connection.execute(
        text("""
            INSERT INTO messages
                (channel, agent, conversation_id, recipient, status, direction, lease_until)
            SELECT 'email', :agent, NULL, 'a@example.org', :status,
                CASE :status WHEN 'received' THEN 'inbound' ELSE 'outbound' END,
                CASE WHEN :status IN ('queued', 'sending') THEN now() + interval '1 minute' END
            FROM generate_series(1, :number)
        """),
        {"status": status, "number": number, "agent": agent},
    )


def _counts(connection: Connection) -> dict[str, int]:
    rows = connection.execute(
        text("SELECT status, count(*) AS number FROM messages GROUP BY status")
    )
    return {row.status: row.number for row in rows}


@pytest.mark.parametrize(
    ("action", "before", "status", "after"),
    [
        ("cancel", "outbox", 200, "cancelled"),
        ("cancel", "retry", 200, "cancelled"),
        ("cancel", "queued", 200, "cancelled"),
        ("cancel", "sending", 409, "sending"),
        ("cancel", "sent", 409, "sent"),
        ("cancel", "received", 409, "received"),
        ("replay", "failed", 200, "outbox"),
        ("replay", "unknown", 200, "outbox"),
        ("replay", "cancelled", 200, "outbox"),
        ("replay", "expired", 200, "outbox"),
        ("replay", "bounced", 200, "outbox"),
        ("replay", "outbox", 409, "outbox"),
        ("replay", "sending", 409, "sending"),
        ("replay", "received", 409, "received"),
    ],
)
def test_a_message_is_changed_where_its_status_allows_it(
    client: FlaskClient, connection: Connection, action: str, before: str, status: int, after: str
) -> None:
    _insert(connection, before)
    response = client.post(f"/api/messages/1/{action}")
    assert response.status_code == status
    if status == 200:
        assert response.get_json() == {"id": 1, "status": after}
    else:
        assert before in response.get_json()["detail"]
    assert _counts(connection) == {after: 1}


@pytest.mark.parametrize("action", ["cancel", "replay"])
def test_a_message_that_is_not_there_cannot_be_changed(client: FlaskClient, action: str) -> None:
    assert client.post(f"/api/messages/1/{action}").status_code == 404


def test_a_replay_counts_first_and_changes_nothing(
    client: FlaskClient, connection: Connection
) -> None:
    _insert(connection, "failed", 3)
    answer = client.post("/api/replay", json={"agent": "smtp"}).get_json()
    assert answer == {
        "dry_run": True, "matched": 3, "replayed": 0, "remaining": 3, "last_id": None,
    }  # fmt: skip
    assert _counts(connection) == {"failed": 3}


def test_a_replay_goes_on_in_batches_to_its_end(
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
    assert _counts(connection) == {"outbox": 501, "unknown": 2, "failed": 2}


def test_a_replay_takes_the_statuses_it_is_given(
    client: FlaskClient, connection: Connection
) -> None:
    for status in ("failed", "unknown", "cancelled"):
        _insert(connection, status)
    client.post("/api/replay", json={"status": ["unknown", "cancelled"], "dry_run": False})
    assert _counts(connection) == {"outbox": 2, "failed": 1}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, ""),
        ({"dry_run": False}, ""),
        ({"dry_run": False, "agent": None}, ""),
        ({"status": []}, "status"),
        ({"status": ["outbox"]}, "status[0]"),
        ({"status": ["failed"], "dry_run": "no"}, "dry_run"),
        ({"status": ["failed"], "after": "1"}, "after"),
        ({"everything": True}, "everything"),
    ],
)
def test_a_replay_of_everything_by_a_slip_is_refused(
    client: FlaskClient, connection: Connection, body: dict[str, Any], field: str
) -> None:
    _insert(connection, "failed")
    response = client.post("/api/replay", json=body)
    assert response.status_code == 422
    assert response.get_json()["errors"][0]["field"] == field
    assert _counts(connection) == {"failed": 1}


@pytest.mark.parametrize(
    ("actions", "running"),
    [
        (["stop"], False),
        (["stop", "stop"], False),
        (["stop", "start"], True),
        (["start"], True),
        (["toggle"], False),
        (["toggle", "toggle"], True),
        (["stop", "run-now"], False),
    ],
)
def test_the_scheduler_is_started_and_stopped(
    client: FlaskClient, actions: list[str], running: bool
) -> None:
    for action in actions:
        answer = client.post(f"/api/scheduler/{action}").get_json()
        assert answer["status"] == f"Scheduler {'started' if answer['running'] else 'stopped'}"
    shown = client.get("/api/scheduler").get_json()
    assert shown["running"] == running
    assert shown["changed_by"] in {"shop", None}


@pytest.mark.parametrize("path", ["scheduler/run-now", "scheduler/start", "agents/smtp/resume"])
def test_going_on_rings_the_bell(client: FlaskClient, connection: Connection, path: str) -> None:
    connection.execute(text("LISTEN outbox"))
    assert client.post(f"/api/{path}").status_code == 200
    driver: Any = connection.connection.driver_connection
    while not driver.notifies:
        select.select([driver], [], [])
        driver.poll()
    assert [bell.channel for bell in driver.notifies] == ["outbox"]


def test_an_agent_is_paused_and_resumed(client: FlaskClient, connection: Connection) -> None:
    _insert(connection, "outbox", 2)
    _insert(connection, "sending")
    _insert(connection, "outbox", agent="gone")
    paused = client.post("/api/agents/smtp/pause", json={"reason": "moving house"})
    assert paused.get_json() == {"code": "smtp", "paused": True, "reason": "moving house"}
    agents = {one["code"]: one for one in client.get("/api/agents").get_json()["agents"]}
    assert agents.keys() == {"api", "gateway", "gone", "smtp"}
    smtp = agents["smtp"]
    assert (smtp["paused"], smtp["reason"], smtp["waiting"], smtp["in_flight"]) == (
        True, "moving house", 2, 1,
    )  # fmt: skip
    assert (smtp["connector"], smtp["channels"], smtp["max_in_flight"]) == ("smtp", ["email"], 4)
    assert agents["gone"]["connector"] is None
    assert client.post("/api/agents/smtp/resume").get_json()["paused"] is False
    assert not any(one["paused"] for one in client.get("/api/agents").get_json()["agents"])


@pytest.mark.parametrize("action", ["pause", "resume"])
def test_an_agent_that_is_not_there_is_not_found(client: FlaskClient, action: str) -> None:
    assert client.post(f"/api/agents/nobody/{action}").status_code == 404
