"""Route messages that other programs insert by SQL."""

import json
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from app import db, suppression
from app.agents import Agents
from app.outbox import route as routing
from app.outbox.replay import replay
from tests.app.outbox.driver import Outbox

PHONE = "+4915112345678"


def test_channel_recipient_and_body_are_a_complete_message(
    outbox: Outbox, loaded_agents: Agents
) -> None:
    number = outbox.insert(channel="sms", recipient="+49 151 123 456 78", body="hi")
    outbox.route(loaded_agents)

    row = outbox.row(number)
    assert (row.agent, row.profile, row.recipient) == ("gateway", "default", PHONE)
    assert row.conversation_id is not None
    assert outbox.events(number) == [(None, "outbox")], "routing does not change the status"

    [claim] = outbox.claim()
    started = outbox.start(number, claim.token)
    assert started is not None
    message = started.message
    assert (message.body, message.headers, message.metadata, message.cc) == ("hi", {}, {}, ())
    assert message.payload is None
    assert message.uid == str(row.uid)


def test_an_inserted_message_joins_the_conversation_that_the_api_created(
    outbox: Outbox, loaded_agents: Agents
) -> None:
    first = outbox.one(recipient=PHONE)
    second = outbox.insert(recipient="+49 (151) 12345678")
    outbox.route(loaded_agents)
    assert outbox.row(first).conversation_id == outbox.row(second).conversation_id


ROUTED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (
        {"channel": "email", "recipient": "Ann <ann@EXAMPLE.com>"},
        {
            "agent": "smtp",
            "recipient": "Ann <ann@example.com>",
            "sender": "Postroom <postroom@example.com>",
        },
    ),
    (
        {"channel": "email", "recipient": "ann@example.com", "sender": "Us@EXAMPLE.com"},
        {"sender": "Us@example.com"},
    ),
    (
        {
            "channel": "email",
            "recipient": "a@b.cd",
            "cc": ["Bob <Bob@EXAMPLE.com>", "c@xn--bcher-kva.example"],
            "bcc": ["D@EXAMPLE.com"],
        },
        {"cc": ["Bob <Bob@example.com>", "c@bücher.example"], "bcc": ["D@example.com"]},
    ),
    ({"sender": "ACME"}, {"sender": "ACME"}),
    ({"sender": "+49 151 87654321"}, {"sender": "+4915187654321"}),
    ({"agent": "gateway"}, {"agent": "gateway"}),
    ({"channel": "http", "recipient": "/a b"}, {"agent": "api", "recipient": "/a b"}),
    ({"recipient": "whatsapp:+49 15112345678"}, {"recipient": f"whatsapp:{PHONE}"}),
]


def test_missing_columns_are_completed_and_addresses_normalised(
    outbox: Outbox, loaded_agents: Agents
) -> None:
    numbers = [outbox.insert(**values) for values, _ in ROUTED]
    outbox.route(loaded_agents)
    for number, (values, expected) in zip(numbers, ROUTED, strict=True):
        row = outbox.row(number)
        assert {name: getattr(row, name) for name in expected} == expected, values
        assert row.status == "outbox", row.reason
        assert row.conversation_id is not None


def test_an_inserted_send_at_delays_the_message(outbox: Outbox, loaded_agents: Agents) -> None:
    number = outbox.insert(send_at="2099-01-01")
    outbox.route(loaded_agents)
    assert outbox.row(number).due_at == outbox.row(number).send_at
    assert outbox.claim() == []


UNROUTABLE: list[tuple[dict[str, Any], str]] = [
    ({"recipient": "call me"}, "recipient: "),
    ({"recipient": PHONE + "\n"}, "recipient: "),
    ({"channel": "email", "recipient": "ann"}, "recipient: "),
    ({"channel": "email", "recipient": "a@b.cd, e@f.gh"}, "recipient: "),
    ({"channel": "email", "recipient": "a@b.cd", "sender": "us"}, "sender: "),
    ({"sender": "A\r\nB: c"}, "sender: "),
    ({"agent": "pigeon"}, "agent: "),
    ({"agent": "smtp"}, "agent: "),
    ({"profile": "eu"}, "profile: "),
    ({"subject": "hi\r\nBcc: eve@example.com"}, "subject: "),
    ({"reply_to": "a@b.cd\n"}, "reply_to: "),
    ({"cc": ["a@b.cd", "x\ny"]}, "cc: "),
    ({"channel": "email", "recipient": "a@b.cd", "cc": ["e@f.gh", "ann"]}, "cc: "),
    ({"channel": "email", "recipient": "a@b.cd", "bcc": ["ann"]}, "bcc: "),
    ({"headers": json.dumps({"X": "a\nB: c"})}, "headers: "),
    ({"headers": json.dumps({"X\n": "a"})}, "headers: "),
    ({"headers": json.dumps({"X": 1})}, "headers: "),
]


def test_a_message_that_cannot_be_sent_fails_and_names_the_field(
    outbox: Outbox, loaded_agents: Agents
) -> None:
    numbers = [outbox.insert(**values) for values, _ in UNROUTABLE]
    good = outbox.insert()
    outbox.route(loaded_agents)
    for number, (values, reason) in zip(numbers, UNROUTABLE, strict=True):
        row = outbox.row(number)
        assert (row.status, row.error_code) == ("failed", "unroutable"), values
        assert row.reason.startswith(reason), (values, row.reason)
        assert row.finished_at is not None
        assert outbox.events(number) == [(None, "outbox"), ("outbox", "failed")]
    assert [claim.message_id for claim in outbox.claim()] == [good]


def test_a_message_to_a_suppressed_address_fails(outbox: Outbox, loaded_agents: Agents) -> None:
    table: list[tuple[dict[str, Any], str, str]] = [
        ({"recipient": "+49 (151) 123 456 78"}, "sms", PHONE),
        ({"channel": "email", "recipient": "Ann <ANN@Example.com>"}, "email", "ann@example.com"),
        ({"channel": "email", "recipient": "a@b.cd", "cc": ["Bob <BOB@Example.com>"]}, "email",
         "bob@example.com"),
        ({"channel": "email", "recipient": "a@b.cd", "bcc": ["bob@xn--bcher-kva.example"]},
         "email", "bob@bücher.example"),
        ({"channel": "push", "recipient": "Token"}, "push", "Token"),
    ]  # fmt: skip
    entries = [
        suppression.add(
            outbox.connection, suppression.key(channel, address), reason="opt_out", by="ann"
        )[0]
        for _, channel, address in table
    ]
    numbers = [outbox.insert(**values) for values, _, _ in table]
    good = outbox.insert(recipient="+4915187654321")
    outbox.route(loaded_agents)
    for number, entry in zip(numbers, entries, strict=True):
        row = outbox.row(number)
        assert (row.status, row.error_code, row.reason) == ("failed", "suppressed", str(entry))
        assert row.finished_at is not None
    assert [claim.message_id for claim in outbox.claim()] == [good]

    suppression.remove(outbox.connection, entries[0].id)
    replay(outbox.connection, numbers[:1])
    outbox.route(loaded_agents)
    assert outbox.row(numbers[0]).conversation_id is not None


def test_the_table_rejects_rows_that_are_not_messages(outbox: Outbox) -> None:
    rejected: list[dict[str, Any]] = [
        {"recipient": ""},
        {"channel": "fax"},
        {"priority": 4},
        {"status": "received"},
        {"direction": "inbound"},
        {"status": "queued"},
        {"lease_until": "2099-01-01"},
    ]
    for values in rejected:
        with pytest.raises(IntegrityError):
            outbox.insert(**values)


def test_an_inserted_message_is_not_sent_before_it_was_checked(
    outbox: Outbox, loaded_agents: Agents
) -> None:
    number = outbox.insert(channel="email", recipient="ann@example.com", agent="gateway")
    assert outbox.claim() == []
    outbox.route(loaded_agents)
    assert outbox.status(number) == "failed"


def test_routing_is_bounded_and_continues_next_time(
    outbox: Outbox, loaded_agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routing, "ROUTE_BATCH", 2)
    numbers = [outbox.insert() for _ in range(5)]
    routed = []
    for _ in range(4):
        outbox.route(loaded_agents)
        routed.append([outbox.row(number).agent for number in numbers].count("gateway"))
    assert routed == [2, 4, 5, 5]


def test_a_row_locked_by_another_transaction_is_routed_later(
    outbox: Outbox, loaded_agents: Agents
) -> None:
    number, other = outbox.insert(), outbox.insert()
    with db.transaction() as connection:
        Outbox(connection).execute("SELECT FROM messages WHERE id = :id FOR UPDATE", id=number)
        outbox.route(loaded_agents)
    assert outbox.row(number).agent is None
    assert outbox.row(other).agent == "gateway"
    outbox.route(loaded_agents)
    assert outbox.row(number).agent == "gateway"


def test_ended_and_routed_messages_are_left_alone(outbox: Outbox, loaded_agents: Agents) -> None:
    cancelled = outbox.insert(status="cancelled")
    routed = outbox.one(recipient=PHONE)
    outbox.execute("UPDATE messages SET recipient = 'as it is' WHERE id = :id", id=routed)
    outbox.route(loaded_agents)
    assert outbox.row(cancelled).agent is None
    assert outbox.row(routed).recipient == "as it is"


def test_an_unroutable_message_is_checked_again_when_replayed(
    outbox: Outbox, loaded_agents: Agents
) -> None:
    number = outbox.insert(recipient="call me")
    outbox.route(loaded_agents)
    outbox.execute("UPDATE messages SET recipient = :phone WHERE id = :id", phone=PHONE, id=number)
    assert replay(outbox.connection, [number]) == [number]
    outbox.route(loaded_agents)
    assert [claim.message_id for claim in outbox.claim()] == [number]
