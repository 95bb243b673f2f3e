"""Messages without an agent, in Postroom's own webhook format."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Connection
from structlog.testing import capture_logs
from werkzeug.test import TestResponse

from app import suppression
from app.api.factory import create_app
from app.auth.tokens import create_token
from app.settings import settings
from tests.app.outbox.driver import Outbox

SMS = {
    "from": "+18045551234",
    "to": "+12016661234",
    "type": "sms",
    "provider_message_id": "message-1",
    "body": "text message",
    "attachments": None,
    "timestamp": "2024-11-01T14:00:00Z",
}
MMS = {
    **SMS,
    "type": "mms",
    "provider_message_id": "message-2",
    "body": "attached",
    "attachments": ["https://files.example.com/cat.png"],
}
EMAIL = {
    "from": "[user@example.com](mailto:user@example.com)",
    "to": "[contact@Example.org](mailto:contact@Example.org)",
    "provider_message_id": "message-3",
    "body": "<html><body>html is <b>allowed</b> here</body></html>",
    "attachments": ["https://files.example.com/report.pdf"],
    "timestamp": "2024-11-01T14:00:00Z",
}
Call = Callable[..., TestResponse]


def _without(body: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in names}


@pytest.fixture
def outbox(connection: Connection) -> Outbox:
    return Outbox(connection)


@pytest.fixture
def call(anonymous: FlaskClient, connection: Connection) -> Call:
    """Send a webhook, by default with a token that has only the scope `receive`."""
    token = create_token(connection, name="receiver", scopes=["receive"])

    def call(kind: str, body: Any, headers: Mapping[str, str] | None = None) -> TestResponse:
        given = {"Authorization": f"Bearer {token}"} if headers is None else headers
        return anonymous.post(f"/api/webhooks/{kind}", json=body, headers=given)

    return call


def _rows(outbox: Outbox) -> int:
    tables = ("messages", "conversations", "suppressions")
    counts = (outbox.execute(f"SELECT count(*) FROM {table}").scalar_one() for table in tables)
    return sum(counts)


def _create_app(environment: pytest.MonkeyPatch, **variables: str) -> Flask:
    for name, value in variables.items():
        environment.setenv(f"POSTROOM_{name.upper()}", value)
    settings.cache_clear()
    return create_app()


def test_message_is_stored_and_shown(call: Call, client: FlaskClient) -> None:
    rows = [("sms", SMS, "sms"), ("sms", MMS, "mms"), ("email", EMAIL, "email")]
    for kind, body, channel in rows:
        response = call(kind, body)
        assert response.status_code == 200
        assert response.get_json()["status"] == "received"
        shown = client.get(f"/api/messages/{response.get_json()['message_id']}").get_json()
        assert (shown["direction"], shown["status"], shown["channel"]) == (
            "inbound", "received", channel,
        )  # fmt: skip
        assert (shown["agent"], shown["body"]) == (None, body["body"])
        assert shown["sent_at"] == "2024-11-01T14:00:00Z"
        assert shown["provider_message_id"] == body["provider_message_id"]
        assert [file["url"] for file in shown["attachments"]] == (body["attachments"] or [])


def test_email_has_plain_addresses_and_its_html(call: Call, client: FlaskClient) -> None:
    call("email", EMAIL)
    shown = client.get("/api/messages/1").get_json()
    assert (shown["from"], shown["to"]) == ("user@example.com", "contact@example.org")
    assert shown["html"] == EMAIL["body"]


def test_provider_message_id_has_other_names(call: Call, outbox: Outbox) -> None:
    plain = _without(SMS, "provider_message_id")
    call("sms", {**plain, "messaging_provider_id": "a"})
    call("email", {**_without(EMAIL, "provider_message_id"), "xillio_id": "b"})
    rows = outbox.execute("SELECT provider_message_id, metadata FROM messages ORDER BY id").all()
    assert [tuple(row) for row in rows] == [("a", {}), ("b", {})]


def test_message_joins_the_conversation_of_the_message_it_replies_to(
    call: Call, client: FlaskClient
) -> None:
    body = {"from": SMS["to"], "to": SMS["from"], "body": "Hello"}
    sent = client.post("/api/messages/sms", json=body).get_json()
    assert call("sms", SMS).get_json()["conversation_id"] == sent["conversation_id"]
    reply = client.post("/api/conversations/1/messages", json={"body": "Thank you"})
    assert reply.status_code == 202
    messages = client.get("/api/conversations/1/messages").get_json()["messages"]
    assert [message["body"] for message in messages] == ["Hello", "text message", "Thank you"]


def test_repeated_message_is_stored_once(call: Call, outbox: Outbox) -> None:
    no_id = {"provider_message_id": None}
    rows = [
        ("sms", SMS, SMS),
        ("sms", SMS, {**SMS, "body": "edited on the way", "attempt": 2}),
        ("sms", {**SMS, "provider_message_id": 7}, {**SMS, "provider_message_id": "7"}),
        ("sms", SMS | no_id, SMS | no_id),
        ("email", EMAIL, EMAIL),
        ("email", EMAIL | no_id, EMAIL | no_id | {"attempt": 2}),
    ]
    failures = []
    for kind, first, second in rows:
        received = call(kind, first).get_json()
        before = _rows(outbox)
        repeated = call(kind, second).get_json()
        if repeated != {**received, "status": "duplicate"} or _rows(outbox) != before:
            failures.append((kind, first, second, repeated))
    assert not failures


def test_different_messages_are_both_stored(call: Call, outbox: Outbox) -> None:
    no_id = {**SMS, "provider_message_id": None}
    rows = [
        ("sms", SMS, {**SMS, "provider_message_id": "message-2"}),
        ("sms", SMS, {**SMS, "type": "mms"}),
        ("sms", {**SMS, "id": "a"}, {**SMS, "id": "a", "provider_message_id": "message-2"}),
        ("email", EMAIL, {**EMAIL, "provider_message_id": "message-4"}),
        ("sms", no_id, {**no_id, "timestamp": "2024-11-01T14:00:01Z"}),
        ("sms", {**no_id, "timestamp": None}, {**no_id, "timestamp": None}),
    ]
    failures = []
    for kind, first, second in rows:
        if [call(kind, body).get_json()["status"] for body in (first, second)] != ["received"] * 2:
            failures.append((kind, first, second))
        outbox.execute("DELETE FROM messages")
    assert not failures


def test_type_follows_from_the_attachments_if_it_is_not_given(call: Call, outbox: Outbox) -> None:
    rows = [
        ({**SMS, "type": None}, "sms"),
        ({**MMS, "type": None}, "mms"),
        ({**SMS, "type": None, "provider_message_id": "3", "from": "ann@example.com"}, "sms"),
    ]
    for body, channel in rows:
        number = call("sms", body).get_json()["message_id"]
        assert outbox.row(number).channel == channel, body


def test_unknown_fields_are_stored_as_metadata_and_bad_characters_replaced(
    call: Call, outbox: Outbox
) -> None:
    body = {**SMS, "body": "a\0b\ud800", "carrier": {"name": "x"}, "id": "customer-1", "channel": 5}
    assert call("sms", body).status_code == 200
    row = outbox.row(1)
    assert row.body == "a\ufffdb\ufffd"
    assert row.metadata == {"carrier": {"name": "x"}, "id": "customer-1", "channel": 5}
    assert row.inbound_key == "sms:message-1"


def test_odd_values_do_not_lose_a_message(call: Call, outbox: Outbox) -> None:
    rows: list[tuple[dict[str, Any], bool]] = [
        ({"timestamp": "yesterday"}, False),
        ({"timestamp": 1730469600}, True),
        ({"timestamp": 1730469600.5}, True),
        ({"timestamp": 10**400}, False),
        ({"timestamp": ""}, False),
        ({"deep": [[[[]]]] * 2}, True),
        ({"number": 5e-324}, True),
        ({"text": "\ufffd"}, True),
    ]
    failures = []
    for index, (fields, has_time) in enumerate(rows):
        response = call("sms", {**SMS, "provider_message_id": index, **fields})
        received = response.get_json()
        assert response.status_code == 200, (fields, received)
        if (outbox.row(received["message_id"]).sent_at is not None) != has_time:
            failures.append((fields, received))
    assert not failures


def test_stop_opts_the_sender_out(call: Call, connection: Connection) -> None:
    call("sms", {**SMS, "body": "STOP"})
    assert suppression.find(connection, [("phone", SMS["from"])])


def test_invalid_messages_are_rejected_and_store_nothing(call: Call, outbox: Outbox) -> None:
    deep: Any = []
    for _ in range(40):
        deep = [deep]
    rows: list[tuple[str, Any, str]] = [
        ("sms", _without(SMS, "from"), "from"),
        ("sms", {**SMS, "to": ""}, "to"),
        ("sms", {**SMS, "to": " "}, "to"),
        ("sms", {**SMS, "from": "x" * 321}, "from"),
        ("sms", {**SMS, "from": ["+18045551234"]}, "from"),
        ("sms", {**SMS, "type": "email"}, "type"),
        ("sms", {**SMS, "body": 5}, "body"),
        ("sms", {**SMS, "provider_message_id": "x" * 256}, "provider_message_id"),
        ("sms", {**SMS, "attachments": "https://example.com"}, "attachments"),
        ("sms", {**SMS, "attachments": ["s3://bucket/key"]}, "attachments"),
        ("email", {**EMAIL, "attachments": [{"content": "?", "filename": "a"}]}, "attachments"),
        ("email", {**EMAIL, "attachments": [{}]}, "attachments"),
        ("sms", {**SMS, "deep": deep}, "deep"),
        ("sms", [], ""),
        ("sms", _without(SMS, "body"), "body"),
        ("sms", {**SMS, "body": "", "attachments": []}, "body"),
    ]
    failures = []
    for kind, body, field in rows:
        problem = call(kind, body).get_json()
        fields = {
            error["field"].partition("[")[0].partition(".")[0]
            for error in problem.get("errors", [])
        }
        if problem["status"] != 422 or fields != {field}:
            failures.append((body, problem))
    assert not failures
    assert _rows(outbox) == 0


def test_token_with_the_scope_receive_is_required(
    call: Call, connection: Connection, outbox: Outbox
) -> None:
    token = create_token(connection, name="others", scopes=["submit", "read", "operate"])
    rows: list[tuple[dict[str, str], int]] = [
        ({}, 401),
        ({"Authorization": "Bearer postroom_unknown"}, 401),
        ({"X-API-Token": token}, 403),
    ]
    for kind, body in (("sms", SMS), ("email", EMAIL)):
        for headers, status in rows:
            assert call(kind, body, headers).status_code == status, (kind, headers)
    assert _rows(outbox) == 0


def test_token_is_checked_before_the_body(anonymous: FlaskClient) -> None:
    rejected = anonymous.post("/api/webhooks/sms", data=b"{", content_type="text/plain")
    assert rejected.status_code == 401


def test_no_token_is_needed_if_verification_is_off_and_the_log_warns(
    environment: pytest.MonkeyPatch, database: str, redis_url: str
) -> None:
    with capture_logs() as logs:
        client = _create_app(environment, webhook_verify="none").test_client()
    [warning] = [line for line in logs if line["log_level"] == "warning"]
    assert warning["event"].startswith("POSTROOM_WEBHOOK_VERIFY is none")
    assert client.post("/api/webhooks/sms", json=SMS).status_code == 200
    assert client.post("/api/webhooks/email", json=EMAIL).status_code == 200
    assert client.get("/api/messages").status_code == 401
    assert client.post("/api/messages/sms", json={}).status_code == 401


def test_webhooks_have_a_size_limit_of_their_own(
    environment: pytest.MonkeyPatch, database: str, redis_url: str, token: str
) -> None:
    app = _create_app(environment, webhook_limit_bytes="1000", request_limit_bytes="5000")
    client = app.test_client()
    headers = {"X-API-Token": token}
    long = {**SMS, "body": "x" * 1000}
    assert client.post("/api/webhooks/sms", json=long, headers=headers).status_code == 413
    assert client.post("/api/webhooks/sms", json=SMS, headers=headers).status_code == 200


def test_log_contains_no_content(call: Call) -> None:
    with capture_logs() as logs:
        call("sms", SMS)
        call("sms", {**SMS, "provider_message_id": "2", "attachments": ["text message"]})
    logged = str(logs)
    assert "webhook stored" in logged
    assert SMS["body"] not in logged
    assert SMS["from"] not in logged


def test_without_redis_messages_are_stored(call: Call, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("REDIS_URL", "redis://127.0.0.1:9/0")
    settings.cache_clear()
    assert call("sms", SMS).status_code == 200
