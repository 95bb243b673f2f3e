"""The tables reject rows that could stop the scan or a list, and limit what a submitter may set."""

import json
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, ProgrammingError

from app import db
from app.agents import Agents
from tests.app.outbox.driver import Outbox


@pytest.fixture
def outbox(database: str, connection: Any) -> Outbox:
    return Outbox(connection)


def test_the_table_rejects_values_out_of_range(outbox: Outbox) -> None:
    rejected: list[dict[str, Any]] = [
        {"claim_token": 2147483647},
        {"claim_token": -1},
        {"attempts": -1_000_000},
        {"attempts": 2147483647},
        {"headers": json.dumps([])},
        {"headers": json.dumps("X-A: 1")},
        {"headers": "null"},
        {"metadata": json.dumps([1])},
        {"refused": json.dumps([1])},
        {"cc": [None]},
        {"bcc": ["a@example.com", None]},
        {"cc": [["a@example.com"], ["b@example.com"]]},
        *(
            {column: timestamp}
            for column in ("created_at", "send_at", "due_at", "expires_at", "sent_at")
            for timestamp in ("infinity", "-infinity", "4000-01-01 BC", "20000-01-01")
        ),
    ]
    stored = []
    for values in rejected:
        try:
            outbox.insert(**values)
        except IntegrityError:
            continue
        stored.append(values)
    assert not stored


def test_the_role_postroom_submit_can_insert_messages_and_nothing_else(
    outbox: Outbox, loaded_agents: Agents
) -> None:
    outbox.execute("GRANT postroom_submit TO CURRENT_USER")
    with db.transaction() as connection:
        connection.execute(text("SET LOCAL ROLE postroom_submit"))
        number = Outbox(connection).insert(
            subject="s", send_at="2026-01-01", headers=json.dumps({"X-A": "1"})
        )
        connection.execute(
            text("INSERT INTO attachments (message_id, name, url) VALUES (:id, 'a', 'https://a')"),
            {"id": number},
        )
    outbox.route(loaded_agents)
    assert [claim.message_id for claim in outbox.claim()] == [number]
    assert outbox.events(number)[0] == (None, "outbox")

    for statement in (
        "INSERT INTO messages (channel, recipient, claim_token) VALUES ('sms', '+1', 7)",
        "INSERT INTO messages (channel, recipient, status) VALUES ('sms', '+1', 'sent')",
        "INSERT INTO messages (channel, recipient, conversation_id) VALUES ('sms', '+1', 1)",
        "INSERT INTO messages (channel, recipient, attempts) VALUES ('sms', '+1', 1)",
        "INSERT INTO messages (channel, recipient, direction) VALUES ('sms', '+1', 'inbound')",
        "INSERT INTO message_events (message_id, to_status) VALUES (1, 'sent')",
        "SELECT body FROM messages",
        "SELECT * FROM api_tokens",
        "UPDATE messages SET body = ''",
        "DELETE FROM messages",
    ):
        with pytest.raises(ProgrammingError, match="permission denied"):
            _run_as_submitter(statement)


def _run_as_submitter(statement: str) -> None:
    with db.transaction() as connection:
        connection.execute(text("SET LOCAL ROLE postroom_submit"))
        connection.execute(text(statement))


def test_numbers_that_python_cannot_represent_are_read_as_text(outbox: Outbox) -> None:
    digits = "9" * 5000
    number = outbox.insert(payload=f"[1e999, {digits}, 1.5, 7]", metadata='{"big": 1e400}')
    row = outbox.row(number)
    assert row.payload == ["1e999", digits, 1.5, 7]
    assert isinstance(row.metadata["big"], int | str)
