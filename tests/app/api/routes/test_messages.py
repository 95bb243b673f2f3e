"""Messages over HTTP: submit, list, get, cancel and replay."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Connection, Engine, event

from app import suppression
from app.outbox.states import CANCELLABLE, OUTBOUND_STATUSES, REPLAYABLE
from tests.app.outbox.driver import Outbox

PHONE = "+18045551234"
SMS = {"from": "+12016661234", "to": PHONE, "body": "hi"}
EMAIL = {"from": "user@example.com", "to": "contact@example.org", "body": "hi"}
FILE = {"filename": "a.txt", "content": "aGk="}
LINK = "https://example.com/files/image.png"


@pytest.fixture
def outbox(connection: Connection) -> Outbox:
    return Outbox(connection)


def _count(outbox: Outbox) -> int:
    return int(outbox.execute("SELECT count(*) FROM messages").scalar_one())


@contextmanager
def _statements() -> Iterator[list[str]]:
    """Record all SQL statements."""
    statements: list[str] = []

    def record(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(Engine, "before_cursor_execute", record)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", record)


# Submit


def test_message_is_accepted_and_stored(client: FlaskClient, outbox: Outbox) -> None:
    dated = {"timestamp": "2024-11-01T14:00:00Z"}
    push = {"channel": "push", "to": "device", "payload": {"a": [1]}, "agent": "api"}
    rows: list[tuple[str, dict[str, Any], str, str]] = [
        ("/sms", {**SMS, **dated, "type": "sms", "attachments": None}, "sms", "gateway"),
        ("/sms", {**SMS, "type": "mms", "attachments": [LINK]}, "mms", "gateway"),
        ("/email", {**EMAIL, **dated, "attachments": []}, "email", "smtp"),
        ("", {**EMAIL, "channel": "email", "attachments": [FILE]}, "email", "smtp"),
        ("", {**SMS, "type": "sms"}, "sms", "gateway"),
        ("", push, "push", "api"),
        ("", {"channel": "http", "to": "/orders"}, "http", "api"),
    ]
    for path, body, channel, agent in rows:
        response = client.post(f"/api/messages{path}", json=body)
        accepted = response.get_json()
        assert response.status_code == 202, accepted
        assert (accepted["status"], accepted["reference"]) == ("outbox", None)
        assert response.headers["Location"] == f"/api/messages/{accepted['id']}"
        row = outbox.row(accepted["id"])
        assert (row.channel, row.agent, row.status, row.submitted_by, row.conversation_id) == (
            channel, agent, "outbox", "shop", accepted["conversation_id"],
        )  # fmt: skip


def test_every_field_is_stored_and_shown(client: FlaskClient) -> None:
    sha256 = hashlib.sha256(b"hi").hexdigest()
    send_at = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    body = {
        "channel": "email",
        "agent": "smtp",
        "profile": "default",
        "from": "Ann <ann@example.com>",
        "to": "Bob <bob@EXAMPLE.org>",
        "subject": "Grüße",
        "body": "text",
        "html": "<p>text</p>",
        "cc": ["c@example.org"],
        "bcc": ["d@example.org"],
        "reply_to": "e@example.org",
        "headers": {"X-Campaign": "spring"},
        "attachments": [{**FILE, "content_type": "text/x-note", "sha256": sha256}],
        "payload": {"a": 1},
        "priority": "immediate",
        "send_at": send_at.isoformat(),
        "expires_at": (send_at + timedelta(hours=1)).isoformat(),
        "reference": "order-1",
        "metadata": {"customer": 7},
        "timestamp": "2024-11-01T14:00:00Z",
    }
    shown = client.get(client.post("/api/messages", json=body).headers["Location"]).get_json()
    same = (
        "channel", "agent", "profile", "from", "subject", "body", "html", "cc", "bcc", "reply_to",
        "headers", "payload", "reference",
    )  # fmt: skip
    assert {name: shown[name] for name in same} == {name: body[name] for name in same}
    assert (shown["to"], shown["priority"]) == ("Bob <bob@example.org>", 0)
    for name in ("send_at", "due_at"):
        assert datetime.fromisoformat(shown[name]) == send_at, name
    assert datetime.fromisoformat(shown["expires_at"]) == send_at + timedelta(hours=1)
    assert shown["metadata"] == {"customer": 7, "timestamp": "2024-11-01T14:00:00+00:00"}
    assert shown["attachments"] == [
        {
            "id": 1,
            "filename": "a.txt",
            "content_type": "text/x-note",
            "size_bytes": 2,
            "url": None,
            "sha256": sha256,
        }
    ]
    assert (shown["attempts"], shown["attempt_log"], shown["receipts"]) == (0, [], [])


def test_message_whose_send_at_has_passed_is_due_at_once(
    client: FlaskClient, outbox: Outbox
) -> None:
    for offset in (0, 22.8):
        zone = timezone(timedelta(hours=offset))
        send_at = (datetime.now(zone) - timedelta(hours=23)).isoformat()
        response = client.post("/api/messages/sms", json={**SMS, "send_at": send_at})
        row = outbox.row(response.get_json()["id"])
        assert row.due_at == row.created_at, send_at


def test_messages_between_the_same_participants_share_a_conversation(client: FlaskClient) -> None:
    back = {**SMS, "from": SMS["to"], "to": SMS["from"], "type": "mms"}
    accepted = [client.post("/api/messages/sms", json=body).get_json() for body in (SMS, back)]
    assert [one["conversation_id"] for one in accepted] == [1, 1]


def test_invalid_message_is_rejected_and_not_stored(client: FlaskClient, outbox: Outbox) -> None:
    response = client.post("/api/messages/sms", json={**SMS, "to": "x", "html": "<p>"})
    assert response.status_code == 422
    problem = response.get_json()
    assert problem["detail"] == "Invalid: to, html."
    assert [error["field"] for error in problem["errors"]] == ["to", "html"]
    assert _count(outbox) == 0
    assert outbox.execute("SELECT count(*) FROM conversations").scalar_one() == 0


def test_message_to_a_suppressed_address_is_rejected_until_it_is_removed(
    client: FlaskClient, connection: Connection, outbox: Outbox
) -> None:
    key = suppression.key("sms", PHONE)
    entry, _ = suppression.add(connection, key, reason="hard_bounce", by="ann")
    headers = {"Idempotency-Key": "a"}
    rejected = client.post("/api/messages/sms", json=SMS, headers=headers)
    assert rejected.status_code == 422
    assert rejected.get_json()["errors"] == [{"field": "to", "reason": str(entry)}]
    assert _count(outbox) == 0
    suppression.remove(connection, entry.id)
    assert client.post("/api/messages/sms", json=SMS, headers=headers).status_code == 202


# Submit a list


def test_valid_messages_of_a_list_are_accepted_and_the_others_rejected(
    client: FlaskClient, connection: Connection, outbox: Outbox
) -> None:
    suppression.add(connection, suppression.key("sms", "+18045551239"), reason="manual", by="ann")
    valid = {**SMS, "channel": "sms"}
    messages = [
        {**valid, "reference": "a"},
        {**valid, "to": "x"},
        {**valid, "to": "+18045551239"},
        7,
        SMS,
        {**valid, "reference": "b"},
    ]
    response = client.post("/api/messages", json=messages)
    assert response.status_code == 202
    result = response.get_json()
    accepted = [(one["index"], one["id"], one["reference"]) for one in result["accepted"]]
    assert accepted == [(0, 1, "a"), (5, 2, "b")]
    rejected = [(one["index"], one["errors"][0]["field"]) for one in result["rejected"]]
    assert rejected == [(1, "to"), (2, "to"), (3, ""), (4, "channel")]
    references = outbox.execute("SELECT reference FROM messages ORDER BY id").scalars()
    assert list(references) == ["a", "b"]


def test_list_without_a_valid_message_is_rejected(
    client: FlaskClient, connection: Connection, outbox: Outbox
) -> None:
    suppression.add(connection, suppression.key("sms", PHONE), reason="manual", by="ann")
    for messages in ([{**SMS, "channel": "sms", "to": "x"}], [{**SMS, "channel": "sms"}]):
        response = client.post("/api/messages", json=messages)
        assert response.status_code == 422
        assert response.get_json()["rejected"][0]["errors"][0]["field"] == "to"
    assert _count(outbox) == 0


def test_list_has_1_to_1000_messages(client: FlaskClient, outbox: Outbox) -> None:
    for size, status in ((0, 422), (1001, 422), (1000, 202)):
        messages = [{**SMS, "channel": "sms"}] * size
        assert client.post("/api/messages", json=messages).status_code == status, size
    assert _count(outbox) == 1000


def test_submission_costs_few_statements(client: FlaskClient) -> None:
    # Token, suppression, conversation and message; with a key also lock, look-up and response.
    rows = [("/sms", SMS, {}, 4), ("/sms", SMS, {"Idempotency-Key": "a"}, 7)]
    client.post("/api/messages/sms", json=SMS)
    for path, body, headers, expected in rows:
        with _statements() as statements:
            client.post(f"/api/messages{path}", json=body, headers=headers)
        assert len(statements) <= expected, statements
    with _statements() as statements:
        client.post("/api/messages", json=[{**SMS, "channel": "sms"}] * 20)
    assert len(statements) <= 4, statements


# Read


def test_messages_are_listed_with_their_http_names(client: FlaskClient) -> None:
    client.post("/api/messages/sms", json={**SMS, "reference": "a"})
    client.post("/api/messages/sms", json={**SMS, "reference": "b"})
    rows: list[tuple[str, list[str]]] = [
        ("", ["b", "a"]),
        ("to=+18045551234", ["b", "a"]),  # an unescaped plus sign is a space
        ("status=outbox&status=queued&since=2020-01-01T00:00:00Z", ["b", "a"]),
        ("until=2020-01-01T00:00:00Z", []),
        ("reference=a", ["a"]),
    ]
    for query, expected in rows:
        messages = client.get(f"/api/messages?{query}").get_json()["messages"]
        assert [message["reference"] for message in messages] == expected, query
        assert all((one["from"], one["to"]) == (SMS["from"], PHONE) for one in messages)


def test_invalid_filters_are_rejected_with_their_field(client: FlaskClient) -> None:
    rows = [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=x", "limit"),
        ("limit=1&limit=2", "limit"),
        ("cursor=", "cursor"),
        ("cursor=x", "cursor"),
        ("cursor=YmVmb3JlIDE%3D%0a", "cursor"),
        ("status=lost", "status[0]"),
        ("channel=fax", "channel"),
        ("since=yesterday", "since"),
        ("since=2026-01-01T00:00:00", "since"),
        ("to=%00", "to"),
        ("agent=", "agent"),
        ("colour=red", "colour"),
    ]
    failures = []
    for query, field in rows:
        problem = client.get(f"/api/messages?{query}").get_json()
        errors = [error["field"] for error in problem.get("errors", [])]
        if (problem.get("status"), errors) != (422, [field]):
            failures.append((query, problem))
    assert not failures


# Cancel and replay


def test_message_is_cancelled_or_replayed_if_its_status_allows_it(
    client: FlaskClient, outbox: Outbox
) -> None:
    failures = []
    for action, allowed, after in (
        ("cancel", CANCELLABLE, "cancelled"),
        ("replay", REPLAYABLE, "outbox"),
    ):
        for before in OUTBOUND_STATUSES:
            number = outbox.at(outbox.one(), before)
            response = client.post(f"/api/messages/{number}/{action}")
            if before in allowed:
                expected = (200, {"id": number, "status": after}, after)
                found = (response.status_code, response.get_json(), outbox.status(number))
            else:
                detail = f"Message {number} is {before}."
                expected = (409, detail, before)
                problem = response.get_json()
                found = (response.status_code, problem["detail"], outbox.status(number))
            if found != expected:
                failures.append((action, before, found))
    assert not failures


def test_inbound_and_missing_messages_can_be_neither_cancelled_nor_replayed(
    client: FlaskClient, outbox: Outbox
) -> None:
    number = outbox.insert(direction="inbound", status="received")
    for action in ("cancel", "replay"):
        assert client.post(f"/api/messages/{number}/{action}").status_code == 409, action
        assert client.post(f"/api/messages/999/{action}").status_code == 404, action
    assert outbox.status(number) == "received"
