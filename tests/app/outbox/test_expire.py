"""Expire messages that were not sent in time."""

import pytest

from app import db
from app.outbox import expire as expiry
from app.outbox.expire import expire
from app.outbox.states import CANCELLABLE, OUTBOUND_STATUSES
from tests.app.outbox.driver import Outbox


def test_a_message_that_was_not_sent_in_time_expires(outbox: Outbox) -> None:
    numbers = {}
    for status in OUTBOUND_STATUSES:
        number = outbox.one()
        outbox.move(number, expires_at="-1 second")
        numbers[status] = outbox.at(number, status)
    assert expire(outbox.connection) == len(CANCELLABLE)
    for status, number in numbers.items():
        row = outbox.row(number)
        assert row.status == ("expired" if status in CANCELLABLE else status)
        if status in CANCELLABLE:
            assert row.lease_until is None
            assert row.finished_at is not None
            assert outbox.start(number, row.claim_token) is None


def test_a_message_with_time_left_does_not_expire(outbox: Outbox) -> None:
    outbox.one()
    outbox.move(outbox.one(), expires_at="1 hour")
    assert expire(outbox.connection) == 0


def test_expiry_is_bounded_and_skips_locked_rows(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "EXPIRE_BATCH", 3)
    numbers = outbox.store(5)
    outbox.execute("UPDATE messages SET expires_at = now() - interval '1 second'")
    for plan in ("hashjoin", "mergejoin", "hashagg", "sort", "material"):
        outbox.execute(f"SET enable_{plan} = off")  # the bound must not depend on the plan
    with db.transaction() as connection:
        Outbox(connection).execute("SELECT FROM messages WHERE id = :id FOR UPDATE", id=numbers[0])
        assert expire(outbox.connection) == 3
        assert expire(outbox.connection) == 1
    assert expire(outbox.connection) == 1
