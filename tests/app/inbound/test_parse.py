"""Parsing stored webhooks and e-mails in a process that can be killed."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from app import db
from app.agents import agents
from app.inbound import parse, parser, unparsed
from app.inbound.parse import MAX_ATTEMPTS, parse_all
from connectors.base import RawMail, WebhookRequest
from tests.app.outbox.driver import Outbox

AGENTS = """
[agents.mail]
connector = "smtp"
[agents.mail.settings]
host = "127.0.0.1"
security = "plain"

[agents.grid]
connector = "sendgrid"
[agents.grid.settings]
api_key = "SG.key"
inbound_username = "grid"
inbound_passwords = ["p:ss"]
"""
MAIL = b"From: ann@example.com\nTo: hello@shop.example\nMessage-ID: <%d@x>\n\nHi\n"
FORM = (
    b'--b\r\nContent-Disposition: form-data; name="envelope"\r\n\r\n'
    b'{"from": "ann@example.com", "to": ["a@shop.example", "b@shop.example"]}\r\n'
    b'--b\r\nContent-Disposition: form-data; name="email"\r\n\r\n'
    b"From: ann@example.com\r\n\r\nHi\r\n--b--\r\n"
)

Store = Callable[..., None]


@pytest.fixture
def outbox(agents_file: Path, connection: Connection) -> Outbox:
    agents_file.write_text(AGENTS)
    agents.cache_clear()
    return Outbox(connection)


def store(content: bytes | WebhookRequest, agent: str = "mail", profile: str = "default") -> None:
    if isinstance(content, bytes):
        content = RawMail(content, len(content))  # type: ignore[assignment]
    with db.transaction() as connection:
        unparsed.store(connection, agent, profile, content)  # type: ignore[arg-type]


def form(body: bytes = FORM) -> WebhookRequest:
    headers = {"content-type": "multipart/form-data; boundary=b", "authorization": "Basic secret"}
    url = "https://post.example.com/api/webhooks/grid/inbound"
    return WebhookRequest("inbound", "POST", url, headers, body, datetime.now(UTC))


def errors(outbox: Outbox) -> list[str | None]:
    return [*outbox.execute("SELECT error FROM unparsed_inbound ORDER BY id").scalars()]


def recipients(outbox: Outbox) -> list[str]:
    return [*outbox.execute("SELECT recipient FROM messages ORDER BY id").scalars()]


def test_stored_mail_and_webhooks_are_parsed_once(outbox: Outbox) -> None:
    for content, agent in ((MAIL % 1, "mail"), (form(), "grid"), (MAIL % 1, "mail")):
        store(content, agent)
    assert parse_all(agents()) == 3
    assert recipients(outbox) == ["hello@shop.example", "a@shop.example", "b@shop.example"]
    assert errors(outbox) == []
    assert parse_all(agents()) == 0


def test_credentials_are_not_stored(outbox: Outbox) -> None:
    store(form(), "grid")
    [request] = outbox.execute("SELECT request FROM unparsed_inbound").scalars()
    assert request["headers"] == {"content-type": "multipart/form-data; boundary=b"}


def test_what_cannot_be_parsed_stays_and_delays_no_other(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    store(form(b"not a form"), "grid")
    store(MAIL % 1, "removed")
    store(MAIL % 1, "mail", "removed")
    store(MAIL % 2)
    assert parse_all(agents()) == 1
    assert recipients(outbox) == ["hello@shop.example"]
    assert errors(outbox) == [
        "the multipart form cannot be parsed",
        "agent removed: the profile default is not configured",
        "agent mail: the profile removed is not configured",
    ]
    logged = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(logged) == 3
    with db.transaction() as connection:
        failed = unparsed.list_failed(connection, 2)
        assert [one.id for one in failed] == [3, 2]
        assert unparsed.get_body(connection, 1) == b"not a form"
        assert unparsed.get_body(connection, 9) is None


def test_failed_row_is_parsed_again_on_request_and_purged_after_its_retention(
    outbox: Outbox,
) -> None:
    store(MAIL % 1, "mail", "removed")
    parse_all(agents())
    outbox.execute("UPDATE unparsed_inbound SET profile = 'default'")
    assert parse_all(agents()) == 0
    with db.transaction() as connection:
        assert unparsed.retry(connection, 1)
        assert not unparsed.retry(connection, 2)
    assert parse_all(agents()) == 1

    store(MAIL % 1, "mail", "removed")
    store(MAIL % 2)
    outbox.execute("UPDATE unparsed_inbound SET error = 'x' WHERE profile = 'removed'")
    with db.transaction() as connection:
        assert unparsed.purge(connection, timedelta(days=1)) == 0
        assert unparsed.purge(connection, timedelta(0)) == 1
    assert errors(outbox) == [None]


def test_mail_whose_contents_cannot_be_stored_is_tried_again_and_then_stays(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    store(MAIL % 1)
    outbox.execute("ALTER TABLE messages ADD CONSTRAINT rejecting CHECK (direction <> 'inbound')")
    try:
        for _ in range(MAX_ATTEMPTS + 1):
            assert errors(outbox) == [None]
            assert parse_all(agents()) == 0
            outbox.execute("UPDATE unparsed_inbound SET due_at = now()")
    finally:
        outbox.execute("ALTER TABLE messages DROP CONSTRAINT rejecting")
    assert errors(outbox) == [f"not stored after {MAX_ATTEMPTS} attempts"]
    assert caplog.text.count("cannot store inbound 1") == MAX_ATTEMPTS


def test_row_that_another_worker_claimed_later_is_not_stored_twice(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(MAIL % 1)
    real = parser.Parser.parse

    def parse_slowly(*arguments: Any) -> Any:
        outbox.execute("UPDATE unparsed_inbound SET attempts = attempts + 1")
        return real(*arguments)

    monkeypatch.setattr(parser.Parser, "parse", parse_slowly)
    assert parse_all(agents()) == 0
    assert recipients(outbox) == []
    assert errors(outbox) == [None]


def test_nothing_is_parsed_while_enough_processes_do(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parse, "MAX_PROCESSES", 0)
    store(MAIL % 1)
    assert parse_all(agents()) == 0
