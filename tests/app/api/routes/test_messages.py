import base64
import hashlib
from collections.abc import Callable
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from flask.testing import FlaskClient
from sqlalchemy import Connection, Engine, event, text

from app.api.factory import create_app

SMS = {"from": "+12016661234", "to": "+18045551234", "body": "hi"}
EMAIL = {"from": "user@example.com", "to": "contact@example.org", "body": "hi"}
FILE = {"filename": "a.txt", "content": "aGk="}
SHA256 = hashlib.sha256(b"hi").hexdigest()
LINK = "https://example.com/files/image%20one.png?size=1"
UNKNOWN = "application/octet-stream"


def _in(**change: float) -> str:
    return (datetime.now(UTC) + timedelta(**change)).isoformat()


def _row(connection: Connection) -> Any:
    return connection.execute(text("SELECT * FROM messages")).one()


@pytest.mark.parametrize(
    ("path", "body", "channel", "agent"),
    [
        (
            "/api/messages/sms",
            {**SMS, "type": "sms", "attachments": None, "timestamp": "2024-11-01T14:00:00Z"},
            "sms",
            "gateway",
        ),
        ("/api/messages/sms", {**SMS, "type": "mms", "attachments": [LINK]}, "mms", "gateway"),
        (
            "/api/messages/email",
            {**EMAIL, "attachments": [], "timestamp": "2024-11-01T14:00:00Z"},
            "email",
            "smtp",
        ),
        ("/api/messages", {**EMAIL, "channel": "email", "attachments": [FILE]}, "email", "smtp"),
        ("/api/messages", {**SMS, "type": "sms"}, "sms", "gateway"),
        (
            "/api/messages",
            {"channel": "push", "to": "device", "payload": {"a": [1]}, "agent": "api"},
            "push",
            "api",
        ),
        ("/api/messages", {"channel": "http", "to": "/orders"}, "http", "api"),
    ],
)
def test_a_message_is_accepted_and_kept(
    client: FlaskClient,
    connection: Connection,
    path: str,
    body: dict[str, Any],
    channel: str,
    agent: str,
) -> None:
    response = client.post(path, json=body)
    assert response.status_code == 202
    assert response.get_json() == {
        "id": 1, "status": "outbox", "conversation_id": 1, "reference": None,
    }  # fmt: skip
    assert response.headers["Location"] == "/api/messages/1"
    row = _row(connection)
    assert (row.channel, row.agent, row.status, row.submitted_by) == (
        channel, agent, "outbox", "shop",
    )  # fmt: skip


def test_every_field_is_kept(client: FlaskClient) -> None:
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
        "attachments": [{**FILE, "content_type": "text/x-note", "sha256": SHA256}],
        "priority": "immediate",
        "send_at": send_at.isoformat(),
        "expires_at": (send_at + timedelta(hours=1)).isoformat(),
        "reference": "order-1",
        "metadata": {"customer": 7},
        "timestamp": "2024-11-01T14:00:00Z",
    }
    location = client.post("/api/messages", json=body).headers["Location"]
    kept = client.get(location).get_json()
    for name in ("from", "subject", "body", "html", "cc", "bcc", "reply_to", "headers", "agent"):
        assert kept[name] == body[name], name
    assert kept["to"] == "Bob <bob@example.org>"
    assert kept["priority"] == 0
    assert datetime.fromisoformat(kept["due_at"]) == send_at
    assert datetime.fromisoformat(kept["expires_at"]) == send_at + timedelta(hours=1)
    assert kept["reference"] == "order-1"
    assert kept["metadata"] == {"customer": 7, "timestamp": "2024-11-01T14:00:00+00:00"}
    assert kept["attachments"] == [
        {
            "id": 1,
            "filename": "a.txt",
            "content_type": "text/x-note",
            "size_bytes": 2,
            "url": None,
            "sha256": SHA256,
        }
    ]


@pytest.mark.parametrize(
    ("given", "name", "kind"),
    [
        (LINK, "image one.png", UNKNOWN),
        ({"url": LINK}, "image one.png", UNKNOWN),
        ({"url": LINK, "filename": "b.pdf", "content_type": "a/b"}, "b.pdf", "a/b"),
        ({"url": "https://example.com"}, "attachment", UNKNOWN),
        ({"url": "https://example.com/a", "sha256": SHA256.upper()}, "a", UNKNOWN),
        ("s3://bills/2026/in voice%20é.pdf", "in voice%20é.pdf", UNKNOWN),
        ({"url": "s3://my.bills-1/a?b#c"}, "a?b#c", UNKNOWN),
    ],
)
def test_an_address_is_kept_to_be_fetched_later(
    client: FlaskClient, given: Any, name: str, kind: str
) -> None:
    answer = client.post("/api/messages/email", json={**EMAIL, "attachments": [given]})
    assert answer.status_code == 202
    link = {"url": given} if isinstance(given, str) else given
    [kept] = client.get(answer.headers["Location"]).get_json()["attachments"]
    assert kept == {
        "id": 1,
        "filename": name,
        "content_type": kind,
        "size_bytes": None,
        "url": link["url"],
        "sha256": link.get("sha256"),
    }


@pytest.mark.parametrize(("size_bytes", "status"), [(50, 202), (51, 422)])
def test_content_has_a_limit_together(
    environment: pytest.MonkeyPatch, client: FlaskClient, size_bytes: int, status: int
) -> None:
    environment.setenv("POSTROOM_ATTACHMENT_LIMIT_BYTES", "100")
    _settings_anew()
    files = [
        {"filename": "a", "content": base64.b64encode(bytes(size)).decode()}
        for size in (50, size_bytes)
    ]
    answer = client.post("/api/messages/email", json={**EMAIL, "attachments": files})
    assert answer.status_code == status
    if status == 422:
        assert [error["field"] for error in answer.get_json()["errors"]] == ["attachments"]


@pytest.mark.parametrize(
    ("path", "change", "field", "reason"),
    [
        ("sms", {"to": "12345"}, "to", "phone number"),
        ("sms", {"to": "+1"}, "to", "phone number"),
        ("sms", {"to": None}, "to", "valid string"),
        ("sms", {"to": ["+18045551234"]}, "to", "one address"),
        ("sms", {"from": "x" * 129}, "from", "longer"),
        ("sms", {"from": "a\nb"}, "from", "CR, LF"),
        ("sms", {"body": ""}, "body", "nothing to send"),
        ("sms", {"body": "a\0b"}, "body", "NUL"),
        ("sms", {"body": "\ud800"}, "body", "surrogate"),
        ("sms", {"type": "email"}, "type", "input should be"),
        ("sms", {"type": "mms", "channel": "sms"}, "type", "otherwise"),
        ("sms", {"html": "<p>"}, "html", "only an e-mail"),
        ("sms", {"attachments": [LINK]}, "attachments", "MMS"),
        ("sms", {"attachments": [FILE], "type": "mms"}, "attachments[0]", "takes: url"),
        ("sms", {"agent": "nobody"}, "agent", "no such agent"),
        ("sms", {"agent": "smtp"}, "agent", "does not serve sms"),
        ("sms", {"profile": "none"}, "profile", "no such profile"),
        ("sms", {"unknown": 1}, "unknown", "unknown field"),
        ("sms", {"priority": 4}, "priority", "input should be"),
        ("sms", {"priority": "urgent"}, "priority", "input should be"),
        ("sms", {"priority": True}, "priority", "input should be"),
        ("sms", {"send_at": "2026-11-22T14:00:00"}, "send_at", "time zone"),
        ("sms", {"send_at": 1795000000}, "send_at", "date and time"),
        ("sms", {"send_at": "0001-01-01T00:00:00+01:00"}, "send_at", "years"),
        ("sms", {"send_at": _in(days=400)}, "send_at", "a year"),
        ("sms", {"expires_at": _in(seconds=-1)}, "expires_at", "future"),
        ("sms", {"expires_at": _in(days=800)}, "expires_at", "two years"),
        ("sms", {"send_at": _in(days=2), "expires_at": _in(days=1)}, "expires_at", "after send_at"),
        ("sms", {"reference": "x" * 256}, "reference", "255"),
        ("sms", {"reference": "a\r"}, "reference", "CR, LF"),
        ("sms", {"metadata": {"a": "\0"}}, "metadata", "NUL"),
        ("sms", {"metadata": []}, "metadata", "object"),
        ("sms", {"payload": {"\ud800": 1}}, "payload", "surrogate"),
        ("email", {"to": "nobody"}, "to", "e-mail address"),
        ("email", {"to": "a@example.org, b@example.org"}, "to", "one address"),
        ("email", {"cc": ["a@example.org", "b"]}, "cc[1]", "e-mail address"),
        ("email", {"bcc": "a@example.org"}, "bcc", "list"),
        ("email", {"reply_to": "x"}, "reply_to", "e-mail address"),
        ("email", {"subject": "a\r\nBcc: x@example.org"}, "subject", "CR, LF"),
        ("email", {"subject": "a\u2028b"}, "subject", "control"),
        ("email", {"subject": "x" * 999}, "subject", "998"),
        ("email", {"headers": {"X-A": "a\nB: c"}}, "headers.X-A", "CR, LF"),
        ("email", {"headers": {"X A": "a"}}, "headers.X A", "pattern"),
        ("email", {"headers": {"BCC": "x@example.org"}}, "headers.BCC", "not for the message"),
        ("email", {"headers": {"Content-Type": "x"}}, "headers.Content-Type", "not for"),
        ("email", {"attachments": ["ftp://example.com/a"]}, "attachments[0]", "pattern"),
        ("email", {"attachments": ["s3://Bills/a.pdf"]}, "attachments[0]", "pattern"),
        ("email", {"attachments": ["s3://bills/"]}, "attachments[0]", "pattern"),
        ("email", {"attachments": ["s3://bills/a\nb"]}, "attachments[0]", "pattern"),
        ("email", {"attachments": ["s3://bills/\ud800"]}, "attachments[0]", "unicode"),
        ("email", {"attachments": ["http://[::z]/a"]}, "attachments[0]", "pattern"),
        ("email", {"attachments": ["http://[::1/a"]}, "attachments[0]", "pattern"),
        ("email", {"attachments": [{"url": "http://[1:2]:99999/"}]}, "attachments[0].url", "IPv6"),
        ("email", {"attachments": [{**FILE, "url": LINK}]}, "attachments[0].url", "unknown field"),
        (
            "email",
            {"attachments": [{"url": LINK, "sha256": "12"}]},
            "attachments[0].sha256",
            "pattern",
        ),
        (
            "email",
            {"attachments": [{**FILE, "sha256": "0" * 64}]},
            "attachments[0].sha256",
            "another",
        ),
        (
            "sms",
            {"attachments": [{"url": LINK, "sha256": SHA256}], "type": "mms"},
            "attachments[0].sha256",
            "nobody would check",
        ),
        ("email", {"attachments": [{"filename": "a"}]}, "attachments[0].url", "required"),
        ("email", {"attachments": [7]}, "attachments[0]", "an object"),
        (
            "email",
            {"attachments": [FILE, {**FILE, "content": "a!"}]},
            "attachments[1].content",
            "base64",
        ),
        (
            "email",
            {"attachments": [{**FILE, "filename": "../a"}]},
            "attachments[0].filename",
            "pattern",
        ),
    ],
)  # fmt: skip
def test_a_message_that_is_refused_names_the_field_and_leaves_no_row(
    client: FlaskClient,
    connection: Connection,
    path: str,
    change: dict[str, Any],
    field: str,
    reason: str,
) -> None:
    body = {**(SMS if path == "sms" else EMAIL), **change}
    response = client.post(f"/api/messages/{path}", json=body)
    assert response.status_code == 422
    errors = {error["field"]: error["reason"] for error in response.get_json()["errors"]}
    assert field in errors
    assert reason in errors[field]
    assert connection.execute(text("SELECT count(*) FROM messages")).scalar_one() == 0
    assert connection.execute(text("SELECT count(*) FROM conversations")).scalar_one() == 0


def test_all_that_is_wrong_is_named_at_once(client: FlaskClient) -> None:
    body = {**EMAIL, "to": "x", "reply_to": "y", "cc": ["z"], "expires_at": _in(days=-1)}
    errors = client.post("/api/messages/email", json=body).get_json()["errors"]
    assert {error["field"] for error in errors} == {"to", "reply_to", "cc[0]", "expires_at"}


@pytest.mark.parametrize("sender", ["Postroom", "12345", "+12016661234", "whatsapp:+12016661234"])
def test_a_telephone_channel_has_names_and_short_codes_as_senders(
    client: FlaskClient, connection: Connection, sender: str
) -> None:
    assert client.post("/api/messages/sms", json={**SMS, "from": sender}).status_code == 202
    assert _row(connection).sender == sender


@pytest.mark.parametrize(
    ("sender", "kept"), [(None, "Postroom <postroom@example.com>"), ("a@b.example", "a@b.example")]
)
def test_a_mail_without_sender_comes_from_that_of_its_agent(
    client: FlaskClient, connection: Connection, sender: str | None, kept: str
) -> None:
    client.post("/api/messages/email", json={**EMAIL, "from": sender})
    assert _row(connection).sender == kept


@pytest.mark.parametrize("send_at", ["2020-01-01T00:00:00Z", "0497-01-28T05:07:30+22:48"])
def test_a_time_that_has_passed_is_now(
    client: FlaskClient, connection: Connection, send_at: str
) -> None:
    client.post("/api/messages/sms", json={**SMS, "send_at": send_at})
    row = _row(connection)
    assert row.due_at == row.created_at


def test_the_longest_recipient_and_sender_can_be_kept(client: FlaskClient) -> None:
    body = {"channel": "push", "to": "😀" * 512, "from": "🙂" * 128, "body": "hi"}
    body["reference"] = "é" * 255
    assert client.post("/api/messages", json=body).status_code == 202


def test_messages_between_the_same_people_share_a_conversation(client: FlaskClient) -> None:
    back = {**SMS, "from": SMS["to"], "to": SMS["from"], "type": "mms"}
    answers = [client.post("/api/messages/sms", json=body).get_json() for body in (SMS, back)]
    assert [answer["conversation_id"] for answer in answers] == [1, 1]


def test_of_a_list_the_good_are_accepted_and_the_others_rejected(
    client: FlaskClient, connection: Connection
) -> None:
    good = {**SMS, "channel": "sms"}
    response = client.post(
        "/api/messages",
        json=[
            {**good, "reference": "a"},
            {**good, "to": "x"},
            7,
            {**SMS},
            {**good, "reference": "b"},
        ],
    )
    assert response.status_code == 202
    answer = response.get_json()
    assert [(one["index"], one["id"], one["reference"]) for one in answer["accepted"]] == [
        (0, 1, "a"), (4, 2, "b"),
    ]  # fmt: skip
    assert [(one["index"], one["errors"][0]["field"]) for one in answer["rejected"]] == [
        (1, "to"), (2, ""), (3, "channel"),
    ]  # fmt: skip
    kept = connection.execute(text("SELECT reference FROM messages ORDER BY id")).scalars()
    assert list(kept) == ["a", "b"]


def test_a_list_without_a_good_one_is_refused(client: FlaskClient) -> None:
    response = client.post("/api/messages", json=[{**SMS, "channel": "sms", "to": "x"}])
    assert response.status_code == 422
    assert response.get_json()["rejected"][0]["errors"][0]["field"] == "to"


@pytest.mark.parametrize(("size", "status"), [(0, 422), (1000, 202), (1001, 422)])
def test_a_list_holds_1_to_1000(client: FlaskClient, size: int, status: int) -> None:
    response = client.post("/api/messages", json=[{**SMS, "channel": "sms"}] * size)
    assert response.status_code == status


@contextmanager
def _statements() -> Any:
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


@pytest.mark.parametrize(
    ("headers", "most"),
    # token, suppression, conversation, message; with a key also its lock, its answer, and keeping
    # that
    [({}, 4), ({"Idempotency-Key": "a"}, 7)],
)
def test_a_submission_costs_few_statements(
    client: FlaskClient, headers: dict[str, str], most: int
) -> None:
    client.post("/api/messages/sms", json=SMS)
    with _statements() as statements:
        assert client.post("/api/messages/sms", json=SMS, headers=headers).status_code == 202
    assert len(statements) <= most, statements


def test_who_submits_too_fast_is_told_when_to_go_on(
    environment: pytest.MonkeyPatch, database: str, redis_url: str, token: str
) -> None:
    environment.setenv("POSTROOM_SUBMIT_RATE_LIMITS", '["2/hour"]')
    _settings_anew()
    client = create_app().test_client()
    headers = {"X-API-Token": token}
    answers = [client.post("/api/messages/sms", json=SMS, headers=headers) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert int(answers[2].headers["Retry-After"]) > 0


def test_while_redis_is_away_messages_are_accepted(
    environment: pytest.MonkeyPatch,
    database: str,
    token: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment.setenv("REDIS_URL", "redis://127.0.0.1:9/0")
    _settings_anew()
    asked: list[object] = []
    ask: Callable[..., Any] = redis.Connection.connect
    monkeypatch.setattr(
        redis.Connection, "connect", lambda self: (asked.append(self), ask(self))[1]
    )
    client = create_app().test_client()
    for _ in range(3):
        answer = client.post("/api/messages/sms", json=SMS, headers={"X-API-Token": token})
        assert answer.status_code == 202
    assert len(asked) == 1


def _settings_anew() -> None:
    from app.settings import settings

    settings.cache_clear()
