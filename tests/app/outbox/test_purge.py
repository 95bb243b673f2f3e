"""Delete rows that are past their retention."""

from datetime import timedelta

import pytest

from app import db
from app.outbox import purge
from app.outbox.outcome import Outcome
from app.outbox.replay import replay
from connectors.base import Attachment, Reply
from tests.app.outbox.driver import Outbox

MONTH = timedelta(days=30)


def test_an_old_message_is_purged_with_everything_that_belongs_to_it(outbox: Outbox) -> None:
    started, token = outbox.started(attachments=[Attachment("a", "text/plain", content=b"x")])
    old = started.message.id
    outbox.settle(started, token, Outcome(status="sent", result="accepted", reply=Reply("ok")))
    outbox.move(old, finished_at="-31 days")
    recent = outbox.at(outbox.one(), "failed")
    outbox.move(recent, finished_at="-29 days")
    waiting = outbox.one()
    outbox.move(waiting, created_at="-99 days", due_at="-99 days")

    assert purge.purge_messages(outbox.connection, MONTH) == 1
    left = outbox.execute("SELECT id FROM messages ORDER BY id").scalars().all()
    assert left == [recent, waiting]
    for table in ("attachments", "attempts"):
        assert outbox.execute(f"SELECT count(*) FROM {table}").scalar_one() == 0
    events = outbox.execute("SELECT DISTINCT message_id FROM message_events").scalars()
    assert {*events} == {recent, waiting}


def test_a_purge_is_bounded_and_takes_the_oldest_first(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purge, "PURGE_BATCH", 2)
    numbers = [outbox.at(outbox.one(), "sent") for _ in range(3)]
    for number, days in zip(numbers, (40, 60, 50), strict=True):
        outbox.move(number, finished_at=f"-{days} days")
    assert purge.purge_messages(outbox.connection, MONTH) == 2
    assert outbox.execute("SELECT id FROM messages").scalars().all() == [numbers[0]]


def test_a_message_that_is_being_replayed_is_not_purged(outbox: Outbox) -> None:
    number = outbox.at(outbox.one(), "failed")
    outbox.move(number, finished_at="-31 days")
    with db.transaction() as replaying:
        assert replay(replaying, [number]) == [number]
        assert purge.purge_messages(outbox.connection, MONTH) == 0
    assert outbox.status(number) == "outbox"


def test_idempotency_keys_are_stored_for_a_day(outbox: Outbox) -> None:
    for key, hours in (("new", 23), ("old", 25)):
        outbox.execute(
            "INSERT INTO idempotency_keys"
            " (client, key, request_hash, status, headers, body, created_at)"
            " VALUES ('c', :key, '', 202, '{}', '', now() - :hours * interval '1 hour')",
            key=key,
            hours=hours,
        )
    assert purge.purge_idempotency_keys(outbox.connection) == 1
    assert outbox.execute("SELECT key FROM idempotency_keys").scalar_one() == "new"
