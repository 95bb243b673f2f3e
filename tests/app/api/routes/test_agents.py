"""Agents over HTTP: their figures, pause and resume."""

from flask.testing import FlaskClient
from sqlalchemy import Connection

from tests.app.outbox.driver import Outbox


def test_agent_is_paused_and_resumed(client: FlaskClient) -> None:
    paused = client.post("/api/agents/smtp/pause", json={"reason": "maintenance"})
    assert paused.get_json() == {"agent": "smtp", "paused": True, "reason": "maintenance"}
    shown = {one["agent"]: one for one in client.get("/api/agents").get_json()["agents"]}
    assert (shown["smtp"]["paused"], shown["smtp"]["reason"]) == (True, "maintenance")
    assert not shown["gateway"]["paused"]
    assert client.post("/api/agents/smtp/pause").get_json()["reason"] is None
    resumed = client.post("/api/agents/smtp/resume").get_json()
    assert resumed == {"agent": "smtp", "paused": False, "reason": None}
    assert not any(one["paused"] for one in client.get("/api/agents").get_json()["agents"])


def test_agents_are_listed_with_their_settings_and_figures(
    client: FlaskClient, connection: Connection
) -> None:
    outbox = Outbox(connection)
    mail = {"channel": "email", "agent": "smtp", "recipient": "a@example.org"}
    outbox.store(2, **mail)
    outbox.at(outbox.one(**mail), "sending")
    outbox.one(agent="gone")
    agents = {one["agent"]: one for one in client.get("/api/agents").get_json()["agents"]}
    assert agents.keys() == {"api", "gateway", "gone", "smtp"}
    smtp = agents["smtp"]
    assert (smtp["waiting"], smtp["in_flight"]) == (2, 1)
    assert (smtp["connector"], smtp["channels"], smtp["max_in_flight"]) == ("smtp", ["email"], 4)
    assert (smtp["profiles"], smtp["rate_limits"]) == (["default"], [])
    assert smtp["oldest_due_age_seconds"] >= 0
    assert agents["api"]["oldest_due_age_seconds"] is None
    assert (agents["gone"]["waiting"], agents["gone"]["connector"]) == (1, None)


def test_missing_agent_is_not_found(client: FlaskClient) -> None:
    for action in ("pause", "resume"):
        assert client.post(f"/api/agents/nobody/{action}").status_code == 404, action


def test_control_characters_in_a_reason_are_rejected(client: FlaskClient) -> None:
    rejected = client.post("/api/agents/smtp/pause", json={"reason": "a\nb"})
    assert rejected.status_code == 422
    assert [error["field"] for error in rejected.get_json()["errors"]] == ["reason"]
