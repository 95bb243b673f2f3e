"""Messages that come in common words, without an agent."""

import base64
import logging
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Connection
from structlog.testing import capture_logs
from werkzeug.test import TestResponse

from app import suppression
from app.auth import tokens as auth
from tests.app.outbox.driver import Outbox

SMS = {
    "from": "+18045551234",
    "to": "+12016661234",
    "type": "sms",
    "messaging_provider_id": "message-1",
    "body": "text message",
    "attachments": None,
    "timestamp": "2024-11-01T14:00:00Z",
}
MMS = {
    **SMS,
    "type": "mms",
    "messaging_provider_id": "message-2",
    "body": "attached",
    "attachments": ["https://files.example.com/cat.png"],
}
EMAIL = {
    "from": "[user@example.com](mailto:user@example.com)",
    "to": "[contact@Example.org](mailto:contact@Example.org)",
    "xillio_id": "message-3",
    "body": "<html><body>html is <b>allowed</b> here</body></html>",
    "attachments": ["https://files.example.com/report.pdf"],
    "timestamp": "2024-11-01T14:00:00Z",
}
Call = Callable[..., TestResponse]


@pytest.fixture
def outbox(connection: Connection) -> Outbox:
    return Outbox(connection)


@pytest.fixture
def call(anonymous: FlaskClient, connection: Connection) -> Call:
    """Call with a token that may receive and nothing else."""
    token = auth.create_token(connection, name="hatch", scopes=["receive"])

    def call(kind: str, body: Any, headers: Mapping[str, str] | None = None) -> TestResponse:
        given = {"Authorization": f"Bearer {token}"} if headers is None else headers
        return anonymous.post(f"/api/webhooks/{kind}", json=body, headers=given)

    return call


@pytest.fixture
def rows(outbox: Outbox) -> Callable[[], int]:
    """How many rows anything left."""

    def rows() -> int:
        tables = ("messages", "conversations", "suppressions")
        counts = (outbox.execute(f"SELECT count(*) FROM {table}").scalar_one() for table in tables)
        return sum(counts)

    return rows


@pytest.mark.parametrize(
    ("kind", "body", "channel"),
    [("sms", SMS, "sms"), ("sms", MMS, "mms"), ("email", EMAIL, "email")],
)
def test_a_message_is_kept_and_shown(call, client, kind, body, channel) -> None:
    answer = call(kind, body)
    assert (answer.status_code, answer.get_json()) == (
        200,
        {"status": "received", "message_id": 1, "conversation_id": 1},
    )
    shown = client.get("/api/messages/1").get_json()
    assert (shown["direction"], shown["status"], shown["channel"]) == (
        "inbound", "received", channel,
    )  # fmt: skip
    assert (shown["agent"], shown["body"]) == (None, body["body"])
    assert shown["sent_at"] == "2024-11-01T14:00:00Z"
    assert shown["provider_message_id"] == body.get("messaging_provider_id", body.get("xillio_id"))
    assert [file["url"] for file in shown["attachments"]] == (body["attachments"] or [])


def test_an_email_has_clean_addresses_and_its_html(call, client) -> None:
    call("email", EMAIL)
    shown = client.get("/api/messages/1").get_json()
    assert (shown["from"], shown["to"]) == ("user@example.com", "contact@example.org")
    assert shown["html"] == EMAIL["body"]


def test_a_message_joins_the_conversation_of_those_it_answers(call, client) -> None:
    sent = client.post(
        "/api/messages/sms", json={"from": SMS["to"], "to": SMS["from"], "body": "Hello"}
    )
    assert call("sms", SMS).get_json()["conversation_id"] == sent.get_json()["conversation_id"]
    reply = client.post("/api/conversations/1/messages", json={"body": "Thank you"})
    assert reply.status_code == 202
    transcript = client.get("/api/conversations/1/messages").get_json()["messages"]
    assert [message["body"] for message in transcript] == ["Hello", "text message", "Thank you"]


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        ("sms", SMS, SMS),
        ("sms", SMS, {**SMS, "body": "edited on the way", "attempt": 2}),
        ("sms", {**SMS, "messaging_provider_id": 7}, {**SMS, "messaging_provider_id": "7"}),
        ("sms", {**SMS, "messaging_provider_id": None}, {**SMS, "messaging_provider_id": None}),
        ("email", EMAIL, EMAIL),
        ("email", {**EMAIL, "xillio_id": None}, {**EMAIL, "xillio_id": None, "attempt": 2}),
    ],
)
def test_a_message_that_comes_again_changes_nothing(call, rows, kind, first, second) -> None:
    received = call(kind, first).get_json()
    before = rows()
    again = call(kind, second)
    assert (again.status_code, again.get_json()) == (200, {**received, "status": "duplicate"})
    assert rows() == before


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        ("sms", SMS, {**SMS, "messaging_provider_id": "message-2"}),
        ("sms", SMS, {**SMS, "type": "mms"}),
        ("sms", {**SMS, "id": "a"}, {**SMS, "id": "a", "messaging_provider_id": "message-2"}),
        ("email", EMAIL, {**EMAIL, "xillio_id": "message-4"}),
        (
            "sms",
            {**SMS, "messaging_provider_id": None},
            {**SMS, "messaging_provider_id": None, "timestamp": "2024-11-01T14:00:01Z"},
        ),
        (
            "sms",
            {**SMS, "messaging_provider_id": None, "timestamp": None},
            {**SMS, "messaging_provider_id": None, "timestamp": None},
        ),
    ],
)
def test_another_message_is_kept_too(call, outbox, kind, first, second) -> None:
    assert [call(kind, body).get_json()["status"] for body in (first, second)] == ["received"] * 2
    assert outbox.execute("SELECT count(*) FROM messages").scalar_one() == 2


@pytest.mark.parametrize(
    ("body", "channel"),
    [
        ({**SMS, "type": None}, "sms"),
        ({**MMS, "type": None}, "mms"),
        ({**SMS, "type": None, "from": "ann@example.com"}, "sms"),
    ],
)
def test_without_a_type_the_files_tell(call, outbox, body, channel) -> None:
    assert call("sms", body).status_code == 200
    assert outbox.row(1).channel == channel


def test_unknown_fields_are_kept_and_what_cannot_be_is_replaced(call, outbox) -> None:
    body = {**SMS, "body": "a\0b\ud800", "carrier": {"name": "x"}, "id": "customer-1", "channel": 5}
    assert call("sms", body).status_code == 200
    row = outbox.row(1)
    assert row.body == "a\ufffdb\ufffd"
    assert row.metadata == {"carrier": {"name": "x"}, "id": "customer-1", "channel": 5}
    assert row.inbound_key == "sms:message-1"


@pytest.mark.parametrize("timestamp", ["yesterday", 1730469600, 1730469600.5, 10**400, ""])
def test_a_moment_that_cannot_be_read_is_no_reason_to_lose_a_message(
    call, outbox, timestamp
) -> None:
    assert call("sms", {**SMS, "timestamp": timestamp}).status_code == 200
    assert (outbox.row(1).sent_at is not None) == (timestamp in {1730469600, 1730469600.5})


def test_a_message_can_say_stop(call, connection) -> None:
    call("sms", {**SMS, "body": "STOP"})
    assert suppression.find(connection, [("phone", SMS["from"])])


@pytest.mark.parametrize(
    ("kind", "body", "field"),
    [
        ("sms", {name: value for name, value in SMS.items() if name != "from"}, "from"),
        ("sms", {**SMS, "to": ""}, "to"),
        ("sms", {**SMS, "to": " "}, "to"),
        ("sms", {**SMS, "from": "x" * 321}, "from"),
        ("sms", {**SMS, "from": ["+18045551234"]}, "from"),
        ("sms", {**SMS, "type": "email"}, "type"),
        ("sms", {**SMS, "body": 5}, "body"),
        ("sms", {**SMS, "messaging_provider_id": "x" * 256}, "messaging_provider_id"),
        ("sms", {**SMS, "attachments": "https://example.com"}, "attachments"),
        ("sms", {**SMS, "attachments": ["s3://bucket/key"]}, "attachments"),
        ("email", {**EMAIL, "attachments": [{"content": "?", "filename": "a"}]}, "attachments"),
        ("email", {**EMAIL, "attachments": [{}]}, "attachments"),
        ("sms", [], ""),
    ],
)
def test_what_cannot_be_read_leaves_nothing(call, rows, kind, body, field) -> None:
    refused = call(kind, body)
    assert refused.status_code == 422
    fields = {error["field"].partition("[")[0] for error in refused.get_json()["errors"]}
    assert {one.partition(".")[0] for one in fields} == {field}
    assert rows() == 0


@pytest.mark.parametrize(
    "field", [{"deep": [[[[]]]] * 2}, {"number": 5e-324}, {"text": "\ufffd"}], ids=str
)
def test_odd_fields_are_no_reason_to_lose_a_message(call, field) -> None:
    assert call("sms", {**SMS, **field}).status_code == 200


def test_fields_that_postgresql_cannot_keep_are_named(call, rows) -> None:
    deep: Any = []
    for _ in range(40):
        deep = [deep]
    assert call("sms", {**SMS, "deep": deep}).get_json()["errors"][0]["field"] == "deep"
    assert rows() == 0


# Who may call


@pytest.mark.parametrize("kind", ["sms", "email"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer postroom_unknown"}, 401),
        ({"X-API-Token": "postroom_unknown"}, 401),
    ],
    ids=["nobody", "unknown", "unknown in its own header"],
)
def test_a_call_without_a_token_leaves_nothing(call, rows, kind, headers, status) -> None:
    body = SMS if kind == "sms" else EMAIL
    assert call(kind, body, headers).status_code == status
    assert rows() == 0


def test_the_token_is_asked_for_before_the_body_is_read(anonymous) -> None:
    refused = anonymous.post("/api/webhooks/sms", data=b"{", content_type="text/plain")
    assert refused.status_code == 401


def test_a_token_that_may_not_receive_is_not_enough(call, connection, rows) -> None:
    others: list[auth.Scope] = ["submit", "read", "operate"]
    token = auth.create_token(connection, name="others", scopes=others)
    assert call("sms", SMS, {"X-API-Token": token}).status_code == 403
    assert rows() == 0


def test_each_way_to_show_a_token_will_do(call, connection) -> None:
    token = auth.create_token(connection, name="hatch", scopes=["receive"])
    basic = base64.b64encode(f"hatch:{token}".encode()).decode()
    for headers in (
        {"Authorization": f"Bearer {token}"},
        {"X-API-Token": token},
        {"Authorization": f"Basic {basic}"},
    ):
        assert call("sms", SMS, headers).status_code == 200


def _app(environment: pytest.MonkeyPatch, **variables: str) -> Flask:
    from app import settings
    from app.api.factory import create_app

    for name, value in variables.items():
        environment.setenv(f"POSTROOM_{name.upper()}", value)
    settings.settings.cache_clear()
    return create_app()


def test_nobody_is_asked_where_the_settings_say_so_and_the_log_says_it(
    environment, database, redis_url
) -> None:
    with capture_logs() as logs:
        client = _app(environment, webhook_verify="none").test_client()
    [warning] = [line for line in logs if line["log_level"] == "warning"]
    assert warning["event"].startswith("POSTROOM_WEBHOOK_VERIFY is none")
    assert client.post("/api/webhooks/sms", json=SMS).status_code == 200
    assert client.post("/api/webhooks/email", json=EMAIL).status_code == 200
    assert client.get("/api/messages").status_code == 401
    assert client.post("/api/messages/sms", json={}).status_code == 401


def test_a_call_that_is_too_long_is_not_read(environment, database, redis_url, connection) -> None:
    client = _app(environment, webhook_limit_bytes="1000", request_limit_bytes="5000").test_client()
    token = auth.create_token(connection, name="hatch", scopes=auth.SCOPES)
    headers = {"X-API-Token": token}
    long = {**SMS, "body": "x" * 1000}
    assert client.post("/api/webhooks/sms", json=long, headers=headers).status_code == 413
    assert client.post("/api/webhooks/sms", json=SMS, headers=headers).status_code == 200


def test_no_content_is_logged(call, caplog) -> None:
    with capture_logs() as logs, caplog.at_level(logging.DEBUG):
        call("sms", SMS)
        call("sms", {**SMS, "messaging_provider_id": "2", "attachments": ["text message"]})
    said = f"{logs} {caplog.text}"
    assert "webhook kept" in said
    assert SMS["body"] not in said
    assert SMS["from"] not in said


def test_without_the_broker_calls_are_taken(call, environment) -> None:
    environment.setenv("REDIS_URL", "redis://127.0.0.1:9/0")
    assert call("sms", SMS).status_code == 200
