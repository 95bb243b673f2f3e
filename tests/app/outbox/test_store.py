"""Into the outbox: by the API, or by a plain INSERT of any other program."""

import json
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError

from app import db
from app.agents import Agents
from app.outbox.replay import replay
from app.outbox.store import store
from app.submission.submission import Submission
from connectors.base import Attachment
from tests.app.outbox.driver import Outbox

PHONE = "+4915112345678"


def test_what_is_accepted_is_kept_word_for_word(outbox: Outbox) -> None:
    later = datetime(2099, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    submission = Submission(
        channel="email",
        agent="smtp",
        profile="default",
        sender="Ann <ann@example.com>",
        recipient="Bob <bob@example.com>",
        cc=["c1@example.com", "c2@example.com"],
        bcc=["b@example.com"],
        reply_to="r@example.com",
        subject="Grüße 👋",
        body="line\r\nline\ttab \u200d",
        html="<p>hi</p>",
        headers={"X-A": "1"},
        payload={"deep": [1, None, 1.5, "\x7f"]},
        metadata={"k": {"v": True}},
        priority=1,
        due_at=later,
        expires_at=later + timedelta(days=1),
        reference="ref-1",
    )
    [kept] = store(outbox.connection, [submission], "shop")
    row = outbox.row(kept.id)
    for name in {field.name for field in fields(Submission)} - {"attachments"}:
        assert getattr(row, name) == getattr(submission, name), name
    assert (row.direction, row.status, row.submitted_by) == ("outbound", "outbox", "shop")
    assert row.conversation_id == kept.conversation_id
    assert outbox.events(kept.id) == [(None, "outbox")]


def test_answers_have_the_order_of_what_was_given(outbox: Outbox) -> None:
    submissions = [
        Submission(channel="sms", agent="gateway", recipient=f"+49151123{n:05}", reference=str(n))
        for n in range(1000)
    ]
    kept = store(outbox.connection, submissions, "tests")
    rows = outbox.execute("SELECT id, reference, conversation_id FROM messages").all()
    found = {row.id: (row.reference, row.conversation_id) for row in rows}
    assert [found[one.id] for one in kept] == [
        (str(n), one.conversation_id) for n, one in enumerate(kept)
    ]
    assert len({one.conversation_id for one in kept}) == 1000


def test_nothing_given_keeps_nothing(outbox: Outbox) -> None:
    assert store(outbox.connection, [], "tests") == []
    assert outbox.execute("SELECT count(*) FROM messages").scalar_one() == 0


def test_a_message_without_a_moment_is_due_at_once(outbox: Outbox) -> None:
    number = outbox.one()
    assert [claim.message_id for claim in outbox.claim()] == [number]


def test_files_go_with_their_message_in_their_order(outbox: Outbox) -> None:
    files = [
        Attachment("a.bin", "application/octet-stream", content=bytes(range(256))),
        Attachment("b.png", "image/png", url="https://example.com/b.png"),
        Attachment("empty", "text/plain", content=b""),
    ]
    outbox.store(attachments=[Attachment("other", "text/plain", content=b"x")])
    started, _ = outbox.started(attachments=files)
    assert list(started.message.attachments) == files


def test_messages_between_the_same_two_share_a_conversation(outbox: Outbox) -> None:
    other = "+4915187654321"
    first = outbox.one(recipient=PHONE, sender=other)
    second = outbox.one(recipient=other, sender=PHONE, channel="mms")
    third = outbox.one(recipient=other)
    assert outbox.row(first).conversation_id == outbox.row(second).conversation_id
    assert outbox.row(third).conversation_id != outbox.row(first).conversation_id


def test_what_is_rolled_back_was_never_accepted(outbox: Outbox) -> None:
    with db.transaction() as connection:
        assert Outbox(connection).store(2)
        connection.rollback()
    for table in ("messages", "conversations", "message_events"):
        assert outbox.execute(f"SELECT count(*) FROM {table}").scalar_one() == 0


@pytest.mark.parametrize(
    "values",
    [
        {"body": "a\0b"},
        {"metadata": {"k": "\0"}},
        {"recipient": ""},
        {"priority": 4},
        {"priority": -1},
        {"channel": "fax"},
        {"attachments": [Attachment("none", "text/plain")]},
        {"attachments": [Attachment("both", "text/plain", content=b"x", url="https://a")]},
    ],
    ids=str,
)
def test_what_the_database_cannot_keep_leaves_nothing(
    outbox: Outbox, values: dict[str, Any]
) -> None:
    submission = {"channel": "sms", "agent": "gateway", "recipient": PHONE, **values}
    with pytest.raises((DBAPIError, ValueError)), db.transaction() as connection:
        store(connection, [Submission(**submission)], "tests")
    assert outbox.execute("SELECT count(*) FROM messages").scalar_one() == 0


# A plain INSERT


def test_channel_recipient_and_body_are_a_complete_message(
    outbox: Outbox, loaded_agents: Agents
) -> None:
    number = outbox.insert(channel="sms", recipient="+49 151 123 456 78", body="hi")
    assert outbox.events(number) == [(None, "outbox")]
    outbox.route(loaded_agents)

    row = outbox.row(number)
    assert (row.agent, row.profile, row.recipient) == ("gateway", "default", PHONE)
    assert row.conversation_id is not None
    assert outbox.events(number) == [(None, "outbox")], "to be adopted is no change of status"

    [claim] = outbox.claim()
    started = outbox.start(number, claim.token)
    assert started is not None
    message = started.message
    assert (message.body, message.headers, message.metadata, message.cc) == ("hi", {}, {}, ())
    assert message.payload is None
    assert message.uid == str(row.uid)


def test_it_joins_the_conversation_that_the_api_began(
    outbox: Outbox, loaded_agents: Agents
) -> None:
    first = outbox.one(recipient=PHONE)
    second = outbox.insert(recipient="+49 (151) 12345678")
    outbox.route(loaded_agents)
    assert outbox.row(first).conversation_id == outbox.row(second).conversation_id


@pytest.mark.parametrize(
    ("values", "kept"),
    [
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
        ({"sender": "ACME"}, {"sender": "ACME"}),
        ({"sender": "+49 151 87654321"}, {"sender": "+4915187654321"}),
        ({"agent": "gateway"}, {"agent": "gateway"}),
        ({"channel": "http", "recipient": "/a b"}, {"agent": "api", "recipient": "/a b"}),
        ({"recipient": "whatsapp:+49 15112345678"}, {"recipient": f"whatsapp:{PHONE}"}),
    ],
    ids=str,
)
def test_what_it_left_open_is_completed(
    outbox: Outbox, loaded_agents: Agents, values: dict[str, Any], kept: dict[str, Any]
) -> None:
    number = outbox.insert(**values)
    outbox.route(loaded_agents)
    row = outbox.row(number)
    assert {name: getattr(row, name) for name in kept} == kept
    assert row.status == "outbox", row.reason
    assert row.conversation_id is not None


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"recipient": "call me"}, "recipient: not a phone number"),
        ({"recipient": PHONE + "\n"}, "recipient: must not contain CR, LF or NUL"),
        ({"channel": "email", "recipient": "ann"}, "recipient: not an e-mail address"),
        ({"channel": "email", "recipient": "a@b.cd, e@f.gh"}, "recipient: not an e-mail address"),
        (
            {"channel": "email", "recipient": "a@b.cd", "sender": "us"},
            "sender: not an e-mail address",
        ),
        ({"sender": "A\r\nB: c"}, "sender: must not contain CR, LF or NUL"),
        ({"agent": "pigeon"}, "agent: no such agent"),
        ({"agent": "smtp"}, "agent: does not serve sms"),
        ({"profile": "eu"}, "profile: agent gateway has no such profile"),
        ({"subject": "hi\r\nBcc: eve@example.com"}, "subject: must not contain CR, LF or NUL"),
        ({"reply_to": "a@b.cd\n"}, "reply_to: must not contain CR, LF or NUL"),
        ({"cc": ["a@b.cd", "x\ny"]}, "cc: must not contain CR, LF or NUL"),
        (
            {"channel": "email", "recipient": "a@b.cd", "cc": ["e@f.gh", "ann"]},
            "cc: not an e-mail address",
        ),
        ({"bcc": [None]}, "bcc: must hold texts and nothing else"),
        ({"headers": json.dumps({"X": "a\nB: c"})}, "headers: must not contain CR, LF or NUL"),
        ({"headers": json.dumps({"X\n": "a"})}, "headers: must not contain CR, LF or NUL"),
        ({"headers": json.dumps({"X": 1})}, "headers: must hold texts and nothing else"),
        ({"headers": json.dumps(["X"])}, "headers: must hold texts and nothing else"),
    ],
    ids=str,
)
def test_one_that_cannot_be_sent_fails_and_says_why(
    outbox: Outbox, loaded_agents: Agents, values: dict[str, Any], reason: str
) -> None:
    bad = outbox.insert(**values)
    good = outbox.insert()
    outbox.route(loaded_agents)
    row = outbox.row(bad)
    assert (row.status, row.error_code) == ("failed", "refused")
    assert row.reason.startswith(reason)
    assert row.finished_at is not None
    assert outbox.events(bad) == [(None, "outbox"), ("outbox", "failed")]
    assert outbox.status(good) == "outbox"
    assert [claim.message_id for claim in outbox.claim()] == [good]


@pytest.mark.parametrize(
    "values",
    [
        {"recipient": ""},
        {"channel": "fax"},
        {"priority": 4},
        {"status": "received"},
        {"direction": "inbound"},
        {"status": "queued"},
        {"lease_until": "2099-01-01"},
    ],
    ids=str,
)
def test_the_table_refuses_what_is_no_message(outbox: Outbox, values: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError):
        outbox.insert(**values)


def test_one_that_chose_its_agent_is_checked_before_it_is_sent(
    outbox: Outbox, loaded_agents: Agents
) -> None:
    number = outbox.insert(channel="email", recipient="ann@example.com", agent="gateway")
    assert outbox.claim() == [], "nobody has looked at it yet"
    outbox.route(loaded_agents)
    assert outbox.status(number) == "failed"


def test_a_bounded_number_is_adopted_at_once_and_the_rest_next_time(
    outbox: Outbox, loaded_agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accept, "ADOPT_AT_ONCE", 2)
    numbers = [outbox.insert() for _ in range(5)]
    adopted = []
    for _ in range(4):
        outbox.route(loaded_agents)
        adopted.append([outbox.row(number).agent for number in numbers].count("gateway"))
    assert adopted == [2, 4, 5, 5]


def test_one_that_another_transaction_holds_is_left_for_later(
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


def test_what_has_ended_or_is_complete_is_not_adopted(
    outbox: Outbox, loaded_agents: Agents
) -> None:
    cancelled = outbox.insert(status="cancelled")
    complete = outbox.one(recipient=PHONE)
    outbox.execute("UPDATE messages SET recipient = 'as it is' WHERE id = :id", id=complete)
    outbox.route(loaded_agents)
    assert outbox.row(cancelled).agent is None
    assert outbox.row(complete).recipient == "as it is"


def test_what_was_refused_is_checked_again_when_it_is_replayed(
    outbox: Outbox, loaded_agents: Agents
) -> None:
    number = outbox.insert(recipient="call me")
    outbox.route(loaded_agents)
    outbox.execute("UPDATE messages SET recipient = :phone WHERE id = :id", phone=PHONE, id=number)
    assert replay(outbox.connection, [number]) == [number]
    outbox.route(loaded_agents)
    assert [claim.message_id for claim in outbox.claim()] == [number]
