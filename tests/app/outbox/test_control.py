"""What people do to messages, agents and the scheduler, and what time does."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from app import db
from app.models import OUTBOUND_STATUSES
from app.outbox import settle as delivery
from app.outbox.cancel import cancel
from app.outbox.expire import expire
from app.outbox.outcome import Outcome
from app.outbox.purge import purge_idempotency_keys, purge_messages
from app.outbox.replay import replay
from connectors.base import Attachment, Reply
from tests.app.outbox.driver import LEASE, Outbox

CANCELLABLE = ["outbox", "retry", "queued"]
REPLAYABLE = ["failed", "unknown", "cancelled", "expired", "bounced", "delivered"]


# Cancel


@pytest.mark.parametrize("status", OUTBOUND_STATUSES)
def test_what_nobody_has_begun_to_send_can_be_cancelled(outbox: Outbox, status: str) -> None:
    number = outbox.at(outbox.one(), status)
    before = outbox.row(number)
    cancelled = cancel(outbox.connection, [number])
    if status not in CANCELLABLE:
        assert cancelled == []
        assert outbox.row(number) == before
        return
    assert cancelled == [number]
    row = outbox.row(number)
    assert (row.status, row.lease_until) == ("cancelled", None)
    assert row.finished_at is not None
    assert outbox.start(number, row.claim_token) is None
    outbox.move(number, due_at="-1 hour")
    assert outbox.claim() == []


def test_a_retry_that_a_task_holds_can_be_cancelled(outbox: Outbox) -> None:
    number = outbox.at(outbox.one(), "retry", lease="1 minute")
    assert cancel(outbox.connection, [number]) == [number]
    assert outbox.start(number, outbox.row(number).claim_token) is None


def test_only_those_named_are_cancelled_and_only_those_are_told(outbox: Outbox) -> None:
    first, second, sent = outbox.store(3)
    outbox.at(sent, "sent")
    assert cancel(outbox.connection, [first, sent, 4711]) == [first]
    assert [outbox.status(number) for number in (first, second, sent)] == [
        "cancelled",
        "outbox",
        "sent",
    ]
    assert cancel(outbox.connection, []) == []


def test_what_came_in_cannot_be_cancelled_or_replayed(outbox: Outbox) -> None:
    number = outbox.insert(direction="inbound", status="received")
    assert cancel(outbox.connection, [number]) == []
    assert replay(outbox.connection, [number]) == []


def test_of_a_start_and_a_cancel_at_once_exactly_one_wins(outbox: Outbox) -> None:
    numbers = outbox.store(60)
    found = {claim.message_id: claim.token for claim in outbox.claim()}

    def start(number: int) -> bool:
        with db.autocommit() as connection:
            return delivery.start(connection, number, found[number], LEASE) is not None

    def cancel(number: int) -> bool:
        with db.autocommit() as connection:
            return bool(cancel(connection, [number]))

    with ThreadPoolExecutor(6) as pool:
        pairs = [(pool.submit(start, n), pool.submit(cancel, n)) for n in numbers]
        for started, cancelled in pairs:
            assert started.result() != cancelled.result()


def test_a_start_that_waits_for_an_uncommitted_cancel_sends_nothing(
    outbox: Outbox, waits_for_lock: Callable[[], bool]
) -> None:
    number = outbox.one()
    [claim] = outbox.claim()
    with ThreadPoolExecutor(1) as pool, db.transaction() as first, db.autocommit() as second:
        assert cancel(first, [number]) == [number]
        starting = pool.submit(delivery.start, second, number, claim.token, LEASE)
        while not waits_for_lock():
            assert not starting.done()
        first.commit()
        assert starting.result() is None


# Replay


@pytest.mark.parametrize("status", OUTBOUND_STATUSES)
def test_what_has_ended_can_be_replayed_from_the_start(outbox: Outbox, status: str) -> None:
    number = outbox.at(outbox.one(), status, attempts=2)
    outbox.move(number, due_at="-1 day")
    before = outbox.row(number)
    replayed = replay(outbox.connection, [number])
    if status not in REPLAYABLE:
        assert replayed == []
        assert outbox.row(number) == before
        return
    assert replayed == [number]
    row = outbox.row(number)
    assert (row.status, row.attempts, row.claim_token) == ("outbox", 0, before.claim_token + 1)
    assert (row.finished_at, row.error_code, row.lease_until) == (None, None, None)
    assert row.uid == before.uid, "so that a provider can tell that it is the same"
    assert outbox.events(number)[-1] == (status, "outbox")
    assert [claim.message_id for claim in outbox.claim()] == [number]


@pytest.mark.parametrize(
    ("expires_at", "still_expires"), [(None, False), ("-1 hour", False), ("1 hour", True)]
)
def test_a_replay_that_had_expired_no_longer_does(
    outbox: Outbox, expires_at: str | None, still_expires: bool
) -> None:
    number = outbox.one()
    if expires_at:
        outbox.move(number, expires_at=expires_at)
    outbox.at(number, "expired")
    before = outbox.row(number).expires_at
    replay(outbox.connection, [number])
    assert outbox.row(number).expires_at == (before if still_expires else None)
    assert [claim.message_id for claim in outbox.claim()] == [number]


def test_a_task_from_before_the_replay_starts_nothing(outbox: Outbox) -> None:
    number = outbox.one()
    [old] = outbox.claim()
    cancel(outbox.connection, [number])
    replay(outbox.connection, [number])
    [new] = outbox.claim()
    assert outbox.start(number, old.token) is None
    assert outbox.start(number, new.token) is not None


# What time does


@pytest.mark.parametrize("status", OUTBOUND_STATUSES)
def test_what_was_not_sent_in_time_expires(outbox: Outbox, status: str) -> None:
    number = outbox.one()
    outbox.move(number, expires_at="-1 second")
    outbox.at(number, status)
    expire(outbox.connection)
    expected = "expired" if status in CANCELLABLE else status
    row = outbox.row(number)
    assert row.status == expected
    if status in CANCELLABLE:
        assert row.lease_until is None
        assert row.finished_at is not None
        assert outbox.start(number, row.claim_token) is None


def test_what_has_time_left_or_never_expires_is_left_alone(outbox: Outbox) -> None:
    outbox.one()
    outbox.move(outbox.one(), expires_at="1 hour")
    assert expire(outbox.connection) == 0


def test_a_bounded_number_expires_at_once_and_what_somebody_holds_next_time(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "AT_ONCE", 3)
    numbers = outbox.store(5)
    outbox.execute("UPDATE messages SET expires_at = now() - interval '1 second'")
    for plan in ("hashjoin", "mergejoin", "hashagg", "sort", "material"):
        outbox.execute(f"SET enable_{plan} = off")  # or a limit may hold by chance
    with db.transaction() as connection:
        Outbox(connection).execute("SELECT FROM messages WHERE id = :id FOR UPDATE", id=numbers[0])
        assert expire(outbox.connection) == 3
        assert expire(outbox.connection) == 1
    assert expire(outbox.connection) == 1


MONTH = timedelta(days=30)


def test_what_ended_long_ago_is_forgotten_with_all_that_hangs_on_it(outbox: Outbox) -> None:
    started, claim = outbox.started(attachments=[Attachment("a", "text/plain", content=b"x")])
    old = started.message.id
    outbox.settle(started, claim, Outcome(status="sent", result="accepted", reply=Reply("ok")))
    outbox.move(old, finished_at="-31 days")
    recent = outbox.at(outbox.one(), "failed")
    outbox.move(recent, finished_at="-29 days")
    waiting = outbox.one()
    outbox.move(waiting, created_at="-99 days", due_at="-99 days")

    assert purge_messages(outbox.connection, MONTH) == 1
    left = outbox.execute("SELECT id FROM messages ORDER BY id").scalars().all()
    assert left == [recent, waiting]
    for table in ("attachments", "attempts"):
        assert outbox.execute(f"SELECT count(*) FROM {table}").scalar_one() == 0
    events = outbox.execute("SELECT DISTINCT message_id FROM message_events").scalars()
    assert {*events} == {recent, waiting}


def test_a_bounded_number_is_forgotten_at_once_the_oldest_first(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "AT_ONCE", 2)
    numbers = [outbox.at(outbox.one(), "sent") for _ in range(3)]
    for number, days in zip(numbers, (40, 60, 50), strict=True):
        outbox.move(number, finished_at=f"-{days} days")
    assert purge_messages(outbox.connection, MONTH) == 2
    assert outbox.execute("SELECT id FROM messages").scalars().all() == [numbers[0]]


def test_what_is_being_replayed_is_not_forgotten(outbox: Outbox) -> None:
    number = outbox.at(outbox.one(), "failed")
    outbox.move(number, finished_at="-31 days")
    with db.transaction() as replaying:
        assert replay(replaying, [number]) == [number]
        assert purge_messages(outbox.connection, MONTH) == 0
    assert outbox.status(number) == "outbox"


def test_answers_are_given_again_for_a_day(outbox: Outbox) -> None:
    for key, hours in (("new", 23), ("old", 25)):
        outbox.execute(
            "INSERT INTO idempotency_keys"
            " (client, key, request_hash, status, headers, body, created_at)"
            " VALUES ('c', :key, '', 202, '{}', '', now() - :hours * interval '1 hour')",
            key=key,
            hours=hours,
        )
    assert purge_idempotency_keys(outbox.connection) == 1
    assert outbox.execute("SELECT key FROM idempotency_keys").scalar_one() == "new"
