"""Cancel messages before they are sent."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from app import db
from app.outbox.cancel import cancel
from app.outbox.claim import Claim
from app.outbox.replay import replay
from app.outbox.start import start
from app.outbox.states import CANCELLABLE, OUTBOUND_STATUSES
from tests.app.outbox.driver import LEASE, Outbox


def test_a_message_can_be_cancelled_until_it_is_being_sent(outbox: Outbox) -> None:
    for status in OUTBOUND_STATUSES:
        number = outbox.at(outbox.one(), status)
        before = outbox.row(number)
        cancelled = cancel(outbox.connection, [number])
        if status not in CANCELLABLE:
            assert cancelled == [], status
            assert outbox.row(number) == before
            continue
        assert cancelled == [number]
        row = outbox.row(number)
        assert (row.status, row.lease_until) == ("cancelled", None)
        assert row.finished_at is not None
        assert outbox.start(number, row.claim_token) is None
    outbox.execute("UPDATE messages SET due_at = now() - interval '1 hour'")
    assert outbox.claim() == []


def test_a_retry_that_waits_in_celery_can_be_cancelled(outbox: Outbox) -> None:
    number = outbox.at(outbox.one(), "retry", lease="1 minute")
    assert cancel(outbox.connection, [number]) == [number]
    assert outbox.start(number, outbox.row(number).claim_token) is None


def test_only_the_named_messages_are_cancelled(outbox: Outbox) -> None:
    first, second, sent = outbox.store(3)
    outbox.at(sent, "sent")
    assert cancel(outbox.connection, [first, sent, 4711]) == [first]
    statuses = [outbox.status(number) for number in (first, second, sent)]
    assert statuses == ["cancelled", "outbox", "sent"]
    assert cancel(outbox.connection, []) == []


def test_inbound_messages_cannot_be_cancelled_or_replayed(outbox: Outbox) -> None:
    number = outbox.insert(direction="inbound", status="received")
    assert cancel(outbox.connection, [number]) == []
    assert replay(outbox.connection, [number]) == []


def test_a_message_is_either_started_or_cancelled_never_both(outbox: Outbox) -> None:
    claims = outbox.claim(gateway=len(outbox.store(60)))

    def begin(claim: Claim) -> bool:
        with db.autocommit() as connection:
            return bool(start(connection, [claim], LEASE))

    def stop(claim: Claim) -> bool:
        with db.autocommit() as connection:
            return bool(cancel(connection, [claim.message_id]))

    with ThreadPoolExecutor(6) as pool:
        pairs = [(pool.submit(begin, claim), pool.submit(stop, claim)) for claim in claims]
        for started, cancelled in pairs:
            assert started.result() != cancelled.result()


def test_a_start_that_waits_for_an_uncommitted_cancel_sends_nothing(
    outbox: Outbox, waits_for_lock: Callable[[], bool]
) -> None:
    number = outbox.one()
    claims = outbox.claim()
    with ThreadPoolExecutor(1) as pool, db.transaction() as first, db.autocommit() as second:
        assert cancel(first, [number]) == [number]
        starting = pool.submit(start, second, claims, LEASE)
        while not waits_for_lock():
            assert not starting.done()
        first.commit()
        assert starting.result() == []
