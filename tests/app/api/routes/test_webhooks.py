"""Webhooks of providers: verified, stored, then answered."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlencode

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Connection
from werkzeug.test import TestResponse

from app import db
from app.agents import agents
from app.api.factory import create_app
from app.inbound.parse import parse_all
from app.settings import settings
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

[agents.grid]
connector = "sendgrid"
[agents.grid.settings]
api_key = "SG.key"
inbound_username = "grid"
inbound_passwords = ["p:ss"]

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

Call = Callable[..., TestResponse]


def sign(path: str, fields: Mapping[str, str], token: str = TOKEN) -> dict[str, str]:
    covered = BASE + path + "".join(name + fields[name] for name in sorted(fields))
    digest = hmac.digest(token.encode(), covered.encode(), hashlib.sha1)
    return {"X-Twilio-Signature": base64.b64encode(digest).decode()}


@pytest.fixture
def agents_file(tmp_path: Path) -> Path:
    file = tmp_path / "agents.toml"
    file.write_text(AGENTS)
    return file


@pytest.fixture
def app(environment: pytest.MonkeyPatch, database: str, redis_url: str) -> Flask:
    environment.setenv("POSTROOM_PUBLIC_URL", BASE)
    environment.setenv("POSTROOM_WEBHOOK_LIMIT_BYTES", "10000")
    return create_app()


@pytest.fixture
def call(anonymous: FlaskClient) -> Call:
    """Send a webhook, by default with a valid signature."""

    def call(
        kind: str,
        fields: Mapping[str, str],
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> TestResponse:
        path = f"/api/webhooks/twilio/{kind}{query}"
        return anonymous.post(
            path,
            data=urlencode(fields),
            content_type="application/x-www-form-urlencoded",
            headers=sign(path, fields) if headers is None else headers,
        )

    return call


@pytest.fixture
def outbox(connection: Connection) -> Outbox:
    return Outbox(connection)


def _rows(outbox: Outbox) -> int:
    tables = ("messages", "receipts", "conversations", "suppressions")
    counts = (outbox.execute(f"SELECT count(*) FROM {table}").scalar_one() for table in tables)
    return sum(counts)


def test_receipt_changes_the_status_of_its_message_once(call: Call, outbox: Outbox) -> None:
    number = outbox.one(agent="twilio")
    [claim] = outbox.claim(twilio=1)
    started = outbox.start(number, claim.token)
    assert started is not None
    assert outbox.settle(started, claim.token, SENT)
    for _ in range(2):
        assert call("status", STATUS).status_code == 204
        assert outbox.status(number) == "delivered"
    assert outbox.execute("SELECT count(*) FROM receipts").scalar_one() == 1


def test_repeated_message_is_stored_once_and_answered_in_the_format_of_the_provider(
    call: Call, outbox: Outbox
) -> None:
    for _ in range(2):
        response = call("inbound", TEXT)
        assert (response.status_code, response.data) == (200, b"<Response/>")
        assert response.content_type == "text/xml"
    [row] = outbox.execute("SELECT * FROM messages").all()
    assert (row.direction, row.status, row.agent, row.profile) == (
        "inbound", "received", "twilio", "second",
    )  # fmt: skip
    assert (row.sender, row.recipient, row.body) == ("+4915112345678", "+15005550006", "Hello")


def test_signature_covers_the_public_url_exactly_as_requested(call: Call) -> None:
    assert call("inbound", TEXT, query="?a=%20b&c=%2F").status_code == 200


def test_signature_covers_the_path_of_an_absolute_request_target(
    call: Call, anonymous: FlaskClient
) -> None:
    # RFC 9112, section 3.2.2. Some proxies send the whole URL in the request line.
    for origin in ("http://internal.test:8000", "HTTPS://post.example.com"):
        path = "/api/webhooks/twilio/inbound?a=%20b"
        response = anonymous.post(
            path,
            data=urlencode(TEXT),
            content_type="application/x-www-form-urlencoded",
            headers=sign(path, TEXT),
            environ_overrides={"RAW_URI": origin + path},
        )
        assert response.status_code == 200, origin


def test_any_secret_of_any_profile_verifies_a_webhook(call: Call) -> None:
    for token in ("another token", "old token"):
        headers = sign("/api/webhooks/twilio/inbound", TEXT, token)
        assert call("inbound", TEXT, headers=headers).status_code == 200, token


def test_webhook_that_is_not_verified_is_rejected_and_stores_nothing(
    call: Call, outbox: Outbox
) -> None:
    wrong = base64.b64encode(bytes(20)).decode()
    rows: list[tuple[dict[str, str], set[int]]] = [
        ({}, {401}),
        ({"X-Twilio-Signature": ""}, {401, 403}),
        ({"X-Twilio-Signature": "AAAA"}, {401, 403}),
        ({"X-Twilio-Signature": wrong}, {403}),
        (sign("/api/webhooks/twilio/elsewhere", TEXT | STATUS), {403}),
    ]
    failures = []
    for kind in ("inbound", "status"):
        for headers, statuses in rows:
            response = call(kind, TEXT | STATUS, headers=headers)
            if response.status_code not in statuses or not response.is_json:
                failures.append((kind, headers, response.status_code))
    assert not failures
    assert _rows(outbox) == 0


def test_verified_webhook_without_content_is_malformed(call: Call, outbox: Outbox) -> None:
    assert call("inbound", {"Body": "without a sender"}).status_code == 400
    assert _rows(outbox) == 0


def test_agent_without_a_secret_has_no_webhooks(anonymous: FlaskClient, outbox: Outbox) -> None:
    for agent in ("silent", "nobody", "twilio%2Fx"):
        for method in ("GET", "POST"):
            path = f"/api/webhooks/{agent}/inbound"
            assert anonymous.open(path, method=method).status_code == 404, (method, agent)
    assert _rows(outbox) == 0


def test_webhook_over_the_size_limit_is_rejected(call: Call, outbox: Outbox) -> None:
    assert call("inbound", TEXT | {"Body": "x" * 10_001}).status_code == 413
    assert _rows(outbox) == 0


def test_hostile_mail_is_stored_and_answered_without_being_parsed(
    anonymous: FlaskClient, outbox: Outbox
) -> None:
    fields = {
        "envelope": json.dumps({"from": "ann@example.com", "to": ["shop@example.com"]}),
        "email": 'Content-Type: text/plain; a="' + ";" * 5000 + "\n\nHi",
    }

    def receive(password: str) -> TestResponse:
        return anonymous.post(
            "/api/webhooks/grid/inbound",
            data=fields,
            content_type="multipart/form-data",
            auth=("grid", password),
        )

    assert receive("wrong").status_code == 403
    assert receive("p:ss").status_code == 200
    assert _rows(outbox) == 0
    [row] = outbox.execute("SELECT * FROM unparsed_inbound").all()
    assert (row.agent, row.profile, row.kind, row.error) == ("grid", "default", "inbound", None)
    assert b";;;;" in bytes(row.body)
    assert parse_all(agents()) == 1
    assert _rows(outbox) == 2, "a message in a conversation"


def test_unknown_fields_and_events_are_stored(call: Call, outbox: Outbox) -> None:
    assert call("inbound", TEXT | {"NewField": "new"}).status_code == 200
    assert call("status", STATUS | {"MessageStatus": "teleported"}).status_code == 204
    metadata = outbox.execute("SELECT metadata FROM messages").scalar_one()
    assert metadata["NewField"] == "new"
    assert outbox.execute("SELECT kind FROM receipts").scalars().all() == ["unrecognised"]


def test_without_the_database_the_provider_is_asked_to_repeat(
    call: Call, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("DATABASE_URL", "postgresql://postroom@127.0.0.1:9/postroom")
    db.close()
    settings.cache_clear()
    response = call("inbound", TEXT)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")


def test_without_redis_webhooks_are_stored(
    call: Call, environment: pytest.MonkeyPatch, outbox: Outbox
) -> None:
    environment.setenv("REDIS_URL", "redis://127.0.0.1:9/0")
    settings.cache_clear()
    assert call("inbound", TEXT).status_code == 200
    assert outbox.execute("SELECT count(*) FROM messages").scalar_one() == 1
