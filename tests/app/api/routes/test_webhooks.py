"""Calls of providers: verified first, then kept, then answered."""

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlencode

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Connection
from werkzeug.test import TestResponse

from tests.app.outbox.driver import SENT, Outbox

BASE = "https://post.example.com/base"
TOKEN = "0123456789abcdef"
AGENTS = f"""
[agents.twilio]
connector = "twilio"
[agents.twilio.settings]
account_sid = "AC{"0" * 32}"
sender = "+15005550006"
[agents.twilio.profiles.default]
settings = {{ auth_token = "another token", webhook_auth_tokens = ["old token"] }}
[agents.twilio.profiles.second]
settings = {{ auth_token = "{TOKEN}" }}

[agents.silent]
connector = "twilio"
[agents.silent.settings]
account_sid = "AC{"0" * 32}"
api_key_sid = "SK{"0" * 32}"
api_key_secret = "secret"
sender = "+15005550006"
"""
STATUS = {"MessageSid": "p-1", "MessageStatus": "delivered", "To": "+4915112345678"}
TEXT = {"MessageSid": "SM1", "From": "+4915112345678", "To": "+15005550006", "Body": "Hello"}


def signed(path: str, fields: Mapping[str, str], token: str = TOKEN) -> dict[str, str]:
    covered = BASE + path + "".join(name + fields[name] for name in sorted(fields))
    digest = hmac.digest(token.encode(), covered.encode(), hashlib.sha1)
    return {"X-Twilio-Signature": base64.b64encode(digest).decode()}


@pytest.fixture
def agents_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "agents.toml"
    file.write_text(AGENTS)
    return file


@pytest.fixture
def app(environment: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Flask:
    from app.api.factory import create_app

    environment.setenv("POSTROOM_PUBLIC_URL", BASE)
    environment.setenv("POSTROOM_WEBHOOK_LIMIT_BYTES", "10000")
    request.getfixturevalue("database")
    request.getfixturevalue("redis_url")
    return create_app()


@pytest.fixture
def call(anonymous: FlaskClient) -> Callable[..., TestResponse]:
    def call(
        kind: str,
        fields: Mapping[str, str],
        *,
        agent: str = "twilio",
        query: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> TestResponse:
        path = f"/api/webhooks/{agent}/{kind}{query}"
        return anonymous.post(
            path,
            data=urlencode(fields),
            content_type="application/x-www-form-urlencoded",
            headers=signed(path, fields) if headers is None else headers,
        )

    return call


@pytest.fixture
def outbox(connection: Connection) -> Outbox:
    return Outbox(connection)


@pytest.fixture
def rows(connection: Connection) -> Callable[[], int]:
    """How many rows anything left."""

    def rows() -> int:
        tables = ("messages", "receipts", "conversations", "suppressions")
        return sum(
            Outbox(connection).execute(f"SELECT count(*) FROM {table}").scalar_one()
            for table in tables
        )

    return rows


def test_a_receipt_moves_its_message(call, outbox) -> None:
    number = outbox.one(agent="twilio")
    [claim] = outbox.claim(twilio=1)
    started = outbox.start(number, claim.token)
    assert started is not None
    assert outbox.settle(started, claim.token, SENT)

    assert call("status", STATUS).status_code == 204
    assert outbox.status(number) == "delivered"
    assert call("status", STATUS).status_code == 204
    assert outbox.execute("SELECT count(*) FROM receipts").scalar_one() == 1


def test_a_message_is_kept_once_and_answered_in_the_providers_way(call, outbox) -> None:
    for _ in range(2):
        answer = call("inbound", TEXT)
        assert (answer.status_code, answer.data) == (200, b"<Response/>")
        assert answer.content_type == "text/xml"
    [kept] = outbox.execute("SELECT * FROM messages").all()
    assert (kept.direction, kept.status, kept.agent, kept.profile) == (
        "inbound",
        "received",
        "twilio",
        "second",
    )
    assert (kept.sender, kept.recipient, kept.body) == ("+4915112345678", "+15005550006", "Hello")


def test_the_signature_covers_the_public_address_as_it_was_called(call) -> None:
    assert call("inbound", TEXT, query="?a=%20b&c=%2F").status_code == 200


@pytest.mark.parametrize("token", ["another token", "old token"])
def test_each_profile_and_each_of_its_secrets_verifies(call, token) -> None:
    headers = signed("/api/webhooks/twilio/inbound", TEXT, token)
    assert call("inbound", TEXT, headers=headers).status_code == 200


@pytest.mark.parametrize("kind", ["inbound", "status"])
def test_an_unsigned_call_leaves_nothing(call, rows, kind) -> None:
    assert call(kind, TEXT | STATUS, headers={}).status_code == 401
    assert rows() == 0


@pytest.mark.parametrize("kind", ["inbound", "status"])
@pytest.mark.parametrize(
    "signature", ["", "AAAA", base64.b64encode(bytes(20)).decode()], ids=["none", "short", "wrong"]
)
def test_a_forged_call_leaves_nothing(call, rows, kind, signature) -> None:
    answer = call(kind, TEXT | STATUS, headers={"X-Twilio-Signature": signature})
    assert answer.status_code in {401, 403}
    assert answer.is_json
    assert rows() == 0


def test_a_call_signed_for_another_place_is_forged(call, rows) -> None:
    headers = signed("/api/webhooks/twilio/status", TEXT)
    assert call("inbound", TEXT, headers=headers).status_code == 403
    assert rows() == 0


def test_a_signed_call_that_says_nothing_is_malformed(call, rows) -> None:
    assert call("inbound", {"Body": "from nobody"}).status_code == 400
    assert rows() == 0


@pytest.mark.parametrize("agent", ["silent", "nobody", "twilio%2Fx"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_without_a_secret_there_is_no_such_place(anonymous, rows, agent, method) -> None:
    path = f"/api/webhooks/{agent}/inbound"
    assert anonymous.open(path, method=method).status_code == 404
    assert rows() == 0


def test_a_call_that_is_too_long_is_not_read(call, rows) -> None:
    assert call("inbound", TEXT | {"Body": "x" * 10_001}).status_code == 413
    assert rows() == 0


def test_unknown_fields_and_unknown_events_are_kept(call, outbox) -> None:
    assert call("inbound", TEXT | {"NewField": "new"}).status_code == 200
    assert call("status", STATUS | {"MessageStatus": "teleported"}).status_code == 204
    metadata = outbox.execute("SELECT metadata FROM messages").scalar_one()
    assert metadata["NewField"] == "new"
    assert outbox.execute("SELECT kind FROM receipts").scalars().all() == ["unrecognised"]


def test_without_the_database_the_provider_is_asked_to_come_again(
    call, app, environment, monkeypatch
) -> None:
    from app import db, settings

    environment.setenv("DATABASE_URL", "postgresql://postroom@127.0.0.1:9/postroom")
    db.close()
    settings.settings.cache_clear()
    answer = call("inbound", TEXT)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


def test_without_the_broker_calls_are_taken(call, environment, outbox) -> None:
    environment.setenv("REDIS_URL", "redis://127.0.0.1:9/0")
    assert call("inbound", TEXT).status_code == 200
    assert outbox.execute("SELECT count(*) FROM messages").scalar_one() == 1
