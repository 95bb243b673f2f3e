"""Replay messages that have ended."""

from app.outbox.cancel import cancel
from app.outbox.replay import replay
from app.outbox.states import OUTBOUND_STATUSES, REPLAYABLE
from tests.app.outbox.driver import Outbox


def test_an_ended_message_can_be_replayed_from_the_start(outbox: Outbox) -> None:
    for status in OUTBOUND_STATUSES:
        number = outbox.at(outbox.one(), status, attempts=2)
        outbox.move(number, due_at="-1 day")
        before = outbox.row(number)
        replayed = replay(outbox.connection, [number])
        if status not in REPLAYABLE:
            assert replayed == [], status
            assert outbox.row(number) == before
            outbox.execute("DELETE FROM messages")
            continue
        assert replayed == [number]
        row = outbox.row(number)
        assert (row.status, row.attempts) == ("outbox", 0)
        assert row.claim_token == before.claim_token + 1
        assert (row.finished_at, row.error_code, row.lease_until) == (None, None, None)
        assert row.uid == before.uid, "the provider's idempotency key"
        assert outbox.events(number)[-1] == (status, "outbox")
        assert [claim.message_id for claim in outbox.claim()] == [number]


def test_a_replayed_message_keeps_only_an_expiry_in_the_future(outbox: Outbox) -> None:
    for expires_at, is_kept in ((None, False), ("-1 hour", False), ("1 hour", True)):
        number = outbox.one()
        if expires_at:
            outbox.move(number, expires_at=expires_at)
        outbox.at(number, "expired")
        before = outbox.row(number).expires_at
        replay(outbox.connection, [number])
        assert outbox.row(number).expires_at == (before if is_kept else None)
        assert [claim.message_id for claim in outbox.claim()] == [number]


def test_a_task_from_before_the_replay_starts_nothing(outbox: Outbox) -> None:
    number = outbox.one()
    [old] = outbox.claim()
    cancel(outbox.connection, [number])
    replay(outbox.connection, [number])
    [new] = outbox.claim()
    assert outbox.start(number, old.token) is None
    assert outbox.start(number, new.token) is not None
