"""The triggers: an event for every change of status, and the notification of workers."""

import select
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from sqlalchemy import create_engine

from app import db
from app.outbox.pause import resume_agent, resume_scheduler
from app.outbox.replay import replay
from tests.app.outbox.driver import Outbox


def test_every_change_of_status_is_recorded_whoever_makes_it(outbox: Outbox) -> None:
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


def test_a_change_of_many_messages_records_an_event_for_each(outbox: Outbox) -> None:
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


def notifications(listening: Any, outbox: Outbox) -> int:
    """Return the number of notifications before a final one of our own, which comes last."""
    outbox.execute("NOTIFY outbox, 'the last'")
    while True:
        listening.poll()
        received = [notify.payload for notify in listening.notifies]
        if "the last" in received:
            listening.notifies.clear()
            return len(received) - 1
        assert select.select([listening], [], [], 30)[0], "no notification within 30 s"


def test_a_transaction_notifies_once_however_many_messages_it_brings(
    outbox: Outbox, database: str
) -> None:
    with listener(database) as listening:
        with db.transaction() as connection:
            inside = Outbox(connection)
            inside.store(20)
            inside.insert()
            inside.execute("UPDATE messages SET priority = 0")
        assert notifications(listening, outbox) == 1


def test_a_rolled_back_transaction_does_not_notify(outbox: Outbox, database: str) -> None:
    with listener(database) as listening:
        with db.transaction() as connection:
            Outbox(connection).store()
            connection.rollback()
        assert notifications(listening, outbox) == 0


def test_workers_are_notified_of_messages_that_a_scan_may_claim_and_of_nothing_else(
    outbox: Outbox, database: str
) -> None:
    table: list[tuple[Callable[[Outbox], Any], int]] = [
        (lambda outbox: outbox.one(), 1),
        (lambda outbox: outbox.insert(), 1),
        (lambda outbox: replay(outbox.connection, [1]), 1),
        (lambda outbox: outbox.at(1, "retry"), 1),
        (lambda outbox: resume_agent(outbox.connection, "x", by="ann"), 1),
        (lambda outbox: resume_scheduler(outbox.connection, by="ann"), 1),
        (lambda outbox: outbox.at(1, "retry", lease="1 minute"), 0),
        (lambda outbox: outbox.at(1, "queued"), 0),
        (lambda outbox: outbox.at(1, "sent"), 0),
        (lambda outbox: outbox.insert(direction="inbound", status="received"), 0),
    ]
    outbox.one()
    with listener(database) as listening:
        for row, (action, expected) in enumerate(table):
            outbox.at(1, "failed")
            notifications(listening, outbox)
            action(outbox)
            assert notifications(listening, outbox) == expected, row


def test_very_many_messages_can_change_in_one_statement(outbox: Outbox) -> None:
    outbox.at(outbox.one(), "cancelled")  # the trigger plans for its first call
    outbox.execute(
        "INSERT INTO messages (channel, recipient, body)"
        " SELECT 'sms', '+4915112345678', 'hi' FROM generate_series(1, 20000)"
    )
    # Exceeds the statement timeout if the trigger compares each row with each.
    outbox.execute("UPDATE messages SET status = 'cancelled' WHERE status = 'outbox'")
    events = outbox.execute(
        "SELECT count(*) FROM message_events WHERE to_status = 'cancelled'"
    ).scalar_one()
    assert events == 20_001
