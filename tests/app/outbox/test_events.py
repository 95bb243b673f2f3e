"""What triggers do: an event for every change of status, and the bell."""

import select
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from sqlalchemy import create_engine

from app import db
from app.outbox.pause import resume_agent, resume_scheduler
from app.outbox.replay import replay
from tests.app.outbox.driver import Outbox


def test_every_change_of_status_leaves_an_event_whoever_makes_it(outbox: Outbox) -> None:
    number = outbox.insert(reason="by hand")
    outbox.execute("UPDATE messages SET subject = 'no change of status' WHERE id = :id", id=number)
    outbox.execute(
        "UPDATE messages SET status = 'failed', reason = 'because' WHERE id = :id", id=number
    )
    rows = outbox.execute(
        "SELECT from_status, to_status, reason FROM message_events WHERE message_id = :id"
        " ORDER BY id",
        id=number,
    ).all()
    assert [tuple(row) for row in rows] == [
        (None, "outbox", "by hand"),
        ("outbox", "failed", "because"),
    ]


def test_a_change_of_many_messages_leaves_an_event_for_each(outbox: Outbox) -> None:
    numbers = outbox.store(50)
    outbox.execute("UPDATE messages SET status = 'cancelled' WHERE id % 2 = 0")
    for number in numbers:
        assert len(outbox.events(number)) == (1 if number % 2 else 2)


@contextmanager
def listener(database: str) -> Iterator[Any]:
    engine = create_engine(database)
    with closing(engine.raw_connection()) as pooled:
        connection: Any = pooled.driver_connection
        connection.autocommit = True
        connection.cursor().execute("LISTEN outbox")
        yield connection
    engine.dispose()


def heard(listening: Any, outbox: Outbox) -> int:
    """How many bells rang before a last one of our own; nothing can be on its way after that."""
    outbox.execute("NOTIFY outbox, 'the last'")
    while True:
        listening.poll()
        rung = [notify.payload for notify in listening.notifies]
        if "the last" in rung:
            listening.notifies.clear()
            return len(rung) - 1
        assert select.select([listening], [], [], 30)[0], "the bell was never heard"


def test_the_bell_rings_once_a_transaction_however_much_it_brings(
    outbox: Outbox, database: str
) -> None:
    with listener(database) as listening:
        with db.transaction() as connection:
            inside = Outbox(connection)
            inside.store(20)
            inside.insert()
            inside.execute("UPDATE messages SET priority = 0")
        assert heard(listening, outbox) == 1


def test_the_bell_does_not_ring_for_what_is_rolled_back(outbox: Outbox, database: str) -> None:
    with listener(database) as listening:
        with db.transaction() as connection:
            Outbox(connection).accept()
            connection.rollback()
        assert heard(listening, outbox) == 0


@pytest.mark.parametrize(
    ("action", "rings"),
    [
        (lambda outbox: outbox.one(), True),
        (lambda outbox: outbox.insert(), True),
        (lambda outbox: replay(outbox.connection, [1]), True),
        (lambda outbox: outbox.at(1, "retry"), True),
        (lambda outbox: resume_agent(outbox.connection, "x", by="ann"), True),
        (lambda outbox: resume_scheduler(outbox.connection, by="ann"), True),
        (lambda outbox: outbox.at(1, "retry", lease="1 minute"), False),
        (lambda outbox: outbox.at(1, "queued"), False),
        (lambda outbox: outbox.at(1, "sent"), False),
        (lambda outbox: outbox.insert(direction="inbound", status="received"), False),
    ],
)
def test_the_bell_rings_for_what_a_scan_may_take_and_for_nothing_else(
    outbox: Outbox, database: str, action: Any, rings: bool
) -> None:
    outbox.at(outbox.one(), "failed")
    with listener(database) as listening:
        action(outbox)
        assert heard(listening, outbox) == rings


def test_very_many_messages_can_change_in_one_statement(outbox: Outbox) -> None:
    outbox.at(outbox.one(), "cancelled")  # the first call of the trigger, which it plans for
    outbox.execute(
        "INSERT INTO messages (channel, recipient, body)"
        " SELECT 'sms', '+4915112345678', 'hi' FROM generate_series(1, 20000)"
    )
    # More than the time that a statement is given, if the trigger compared each row with each.
    outbox.execute("UPDATE messages SET status = 'cancelled' WHERE status = 'outbox'")
    events = outbox.execute(
        "SELECT count(*) FROM message_events WHERE to_status = 'cancelled'"
    ).scalar_one()
    assert events == 20_001
