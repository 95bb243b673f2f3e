"""Store submissions: messages of the API."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from app import db
from app.outbox.store import store
from app.submission.submission import Submission
from connectors.base import Attachment
from tests.app.outbox.driver import Outbox

PHONE = "+4915112345678"


def test_every_field_of_a_submission_is_stored_unchanged(outbox: Outbox) -> None:
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
        send_at=later,
        expires_at=later + timedelta(days=1),
        reference="ref-1",
    )
    [stored] = store(outbox.connection, [submission], "shop")
    row = outbox.row(stored.id)
    for name in {field.name for field in fields(Submission)} - {"attachments"}:
        assert getattr(row, name) == getattr(submission, name), name
    assert (row.direction, row.status, row.submitted_by) == ("outbound", "outbox", "shop")
    assert row.due_at == later
    assert row.conversation_id == stored.conversation_id
    assert outbox.events(stored.id) == [(None, "outbox")]


def test_stored_messages_have_the_order_of_their_submissions(outbox: Outbox) -> None:
    submissions = [
        Submission(channel="sms", agent="gateway", recipient=f"+49151123{n:05}", reference=str(n))
        for n in range(1000)
    ]
    stored = store(outbox.connection, submissions, "tests")
    rows = outbox.execute("SELECT id, reference, conversation_id FROM messages").all()
    found = {row.id: (row.reference, row.conversation_id) for row in rows}
    assert [found[one.id] for one in stored] == [
        (str(n), one.conversation_id) for n, one in enumerate(stored)
    ]
    assert len({one.conversation_id for one in stored}) == 1000


def test_an_empty_list_stores_nothing(outbox: Outbox) -> None:
    assert store(outbox.connection, [], "tests") == []
    assert outbox.execute("SELECT count(*) FROM messages").scalar_one() == 0


def test_a_message_without_a_future_send_at_is_due_at_once(outbox: Outbox) -> None:
    past = datetime(2020, 1, 1, tzinfo=UTC)
    numbers = [outbox.one(), outbox.one(send_at=past)]
    assert sorted(claim.message_id for claim in outbox.claim()) == numbers
    assert outbox.row(numbers[1]).send_at is None


def test_attachments_are_stored_in_order(outbox: Outbox) -> None:
    files = [
        Attachment("a.bin", "application/octet-stream", content=bytes(range(256))),
        Attachment("b.png", "image/png", url="https://example.com/b.png"),
        Attachment("empty", "text/plain", content=b""),
    ]
    outbox.store(attachments=[Attachment("other", "text/plain", content=b"x")])
    started, _ = outbox.started(attachments=files)
    assert list(started.message.attachments) == files


def test_messages_between_the_same_participants_share_a_conversation(outbox: Outbox) -> None:
    other = "+4915187654321"
    first = outbox.one(recipient=PHONE, sender=other)
    second = outbox.one(recipient=other, sender=PHONE, channel="mms")
    third = outbox.one(recipient=other)
    assert outbox.row(first).conversation_id == outbox.row(second).conversation_id
    assert outbox.row(third).conversation_id != outbox.row(first).conversation_id


def test_a_rolled_back_transaction_stores_nothing(outbox: Outbox) -> None:
    with db.transaction() as connection:
        assert Outbox(connection).store(2)
        connection.rollback()
    for table in ("messages", "conversations", "message_events"):
        assert outbox.execute(f"SELECT count(*) FROM {table}").scalar_one() == 0


def test_values_that_postgresql_rejects_store_nothing(outbox: Outbox) -> None:
    rejected: list[dict[str, Any]] = [
        {"body": "a\0b"},
        {"metadata": {"k": "\0"}},
        {"recipient": ""},
        {"priority": 4},
        {"priority": -1},
        {"channel": "fax"},
        {"attachments": [Attachment("none", "text/plain")]},
        {"attachments": [Attachment("both", "text/plain", content=b"x", url="https://a")]},
    ]
    for values in rejected:
        submission = {"channel": "sms", "agent": "gateway", "recipient": PHONE, **values}
        with pytest.raises((DBAPIError, ValueError)), db.transaction() as connection:
            store(connection, [Submission(**submission)], "tests")
    assert outbox.execute("SELECT count(*) FROM messages").scalar_one() == 0
