"""Claim due messages, and release claims that were not used."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest

from app import db
from app.outbox import claim as claims
from app.outbox.claim import Claim, release
from app.outbox.pause import pause_agent, pause_scheduler, resume_agent
from app.outbox.states import OUTBOUND_STATUSES
from tests.app.outbox.driver import HOLDERS, LEASE, Outbox


def ids(found: list[Claim]) -> list[int]:
    return [claim.message_id for claim in found]


# Order and capacity


def test_messages_are_claimed_by_priority_then_by_age(outbox: Outbox) -> None:
    low_old = outbox.one(priority=3)
    medium_new = outbox.one(priority=2)
    medium_old = outbox.one(priority=2)
    twin = outbox.one(priority=2)
    immediate = outbox.one(priority=0)
    high = outbox.one(priority=1)
    for number, age in (
        (low_old, "-9 hours"),
        (medium_new, "-1 minute"),
        (medium_old, "-1 hour"),
    ):
        outbox.move(number, due_at=age)
    outbox.execute(
        "UPDATE messages SET due_at = (SELECT due_at FROM messages WHERE id = :one) WHERE id = :id",
        one=medium_new,
        id=twin,
    )
    order = [immediate, high, medium_old, medium_new, twin, low_old]
    assert ids(outbox.claim(gateway=4)) == order[:4]
    assert ids(outbox.claim(gateway=4)) == order[4:]


def test_each_agent_gets_no_more_than_its_capacity(outbox: Outbox) -> None:
    gateway = outbox.store(5)
    smtp = outbox.store(5, agent="smtp", channel="email", recipient="a@example.com")
    outbox.store(5, agent="api", channel="http", recipient="/a")
    found = outbox.claim(gateway=2, smtp=4, absent=3)
    assert Counter(claim.agent for claim in found) == {"gateway": 2, "smtp": 4}
    assert {*ids(found)} == {*gateway[:2], *smtp[:4]}


def test_capacity_is_shared_by_all_priorities(outbox: Outbox) -> None:
    for priority in (3, 2, 1, 0):
        outbox.store(2, priority=priority)
    assert [len(outbox.claim(gateway=3)) for _ in range(3)] == [3, 3, 2]


def test_a_claim_raises_the_token_and_leases_the_message(outbox: Outbox) -> None:
    number = outbox.one()
    assert outbox.claim() == [Claim(number, "gateway", 1)]
    row = outbox.row(number)
    assert (row.status, row.claim_token, row.attempts) == ("queued", 1, 0)
    assert outbox.seconds_until(number, "lease_until") == pytest.approx(
        LEASE.total_seconds(), abs=30
    )
    assert outbox.events(number)[-1] == ("outbox", "queued")


def test_a_message_is_due_from_due_at_until_expires_at(outbox: Outbox) -> None:
    table = [
        ("0", None, True),
        ("-10 years", None, True),
        ("1 hour", None, False),
        ("-1 minute", "1 hour", True),
        ("-1 minute", "-1 second", False),
        ("1 hour", "2 hours", False),
    ]
    expected = set()
    for status in ("outbox", "retry"):
        for due_at, expires_at, is_due in table:
            number = outbox.at(outbox.one(), status)
            outbox.move(number, due_at=due_at)
            if expires_at:
                outbox.move(number, expires_at=expires_at)
            if is_due:
                expected.add(number)
    assert {*ids(outbox.claim())} == expected


def test_leased_and_ended_messages_are_not_claimed(outbox: Outbox) -> None:
    for status in {*OUTBOUND_STATUSES} - {"outbox", "retry"}:
        outbox.at(outbox.one(), status)
    for status, lease in (("queued", "-1 minute"), ("sending", "-1 minute"), ("retry", "1 minute")):
        outbox.at(outbox.one(), status, lease=lease)
    assert outbox.claim() == []


def test_rows_locked_by_another_transaction_are_skipped(outbox: Outbox) -> None:
    first, second, third = outbox.store(3)
    with db.transaction() as connection:
        Outbox(connection).execute("SELECT FROM messages WHERE id = :id FOR UPDATE", id=second)
        assert ids(outbox.claim(gateway=2)) == [first, third]
    assert ids(outbox.claim(gateway=2)) == [second]


def test_concurrent_scans_never_claim_the_same_message(outbox: Outbox) -> None:
    scanners = 4
    numbers = outbox.store(400)
    together = Barrier(scanners)

    def scan() -> list[int]:
        found: list[int] = []
        together.wait()
        with db.autocommit() as connection:
            while some := Outbox(connection).claim(gateway=7):
                found += ids(some)
        return found

    with ThreadPoolExecutor(scanners) as pool:
        each = [future.result() for future in [pool.submit(scan) for _ in range(scanners)]]
    counts = Counter(number for found in each for number in found)
    assert set(counts) == set(numbers)
    assert set(counts.values()) == {1}


# The lock and the state of a scan


def test_one_scan_at_a_time_holds_the_lock(database: str) -> None:
    with db.transaction() as first:
        assert claims.try_lock(first)
        with db.transaction() as second:
            assert not claims.try_lock(second)
    with db.transaction() as third:
        assert claims.try_lock(third)


def test_a_scan_reads_what_is_paused_in_flight_and_unrouted(outbox: Outbox) -> None:
    state = claims.begin_scan(outbox.connection)
    assert state == claims.ScanState(
        running=True, paused_agents=frozenset(), in_flight={}, has_unrouted=False
    )
    outbox.store(5)
    outbox.claim(gateway=2)
    outbox.at(outbox.one(), "sending")
    outbox.at(outbox.one(), "retry", lease="1 minute")
    outbox.at(outbox.one(agent="smtp", channel="email", recipient="a@b.cd"), "queued")
    outbox.at(outbox.one(agent="api", channel="http"), "sent")
    pause_agent(outbox.connection, "api", reason=None, by="ann")
    pause_agent(outbox.connection, "x", reason=None, by="ann")
    resume_agent(outbox.connection, "x", by="ann")
    outbox.insert()
    state = claims.begin_scan(outbox.connection)
    assert state.in_flight == {"gateway": 4, "smtp": 1}
    assert (state.running, state.paused_agents, state.has_unrouted) == (True, {"api"}, True)

    pause_scheduler(outbox.connection, by="ann")
    assert not claims.begin_scan(outbox.connection).running


def test_a_scan_records_when_it_ran(outbox: Outbox) -> None:
    last = "SELECT last_scan_at FROM scheduler_state"
    assert outbox.execute(last).scalar_one() is None
    claims.begin_scan(outbox.connection)
    first = outbox.execute(last).scalar_one()
    claims.begin_scan(outbox.connection)
    assert outbox.execute(last).scalar_one() > first


def test_a_message_without_agent_or_conversation_is_unrouted(outbox: Outbox) -> None:
    number = outbox.one()
    for column, value, is_unrouted in (
        ("agent", "'x'", False),
        ("conversation_id", "NULL", True),
        ("agent", "NULL", True),
    ):
        outbox.execute(f"UPDATE messages SET {column} = {value} WHERE id = :id", id=number)
        assert claims.begin_scan(outbox.connection).has_unrouted is is_unrouted


# Release


def test_a_released_claim_is_due_again_and_its_task_is_stale(outbox: Outbox) -> None:
    for attempts, status in ((0, "outbox"), (2, "retry")):
        number = outbox.at(outbox.one(), "retry", attempts=attempts)
        [claim] = outbox.claim()
        due_at = outbox.row(number).due_at
        release(outbox.connection, [claim], "not published")
        row = outbox.row(number)
        assert (row.status, row.attempts, row.lease_until) == (status, attempts, None)
        assert (row.reason, row.due_at) == ("not published", due_at)
        assert outbox.start(number, claim.token) is None
        [again] = outbox.claim()
        assert again.token > claim.token
        assert outbox.attempts(number) == []


def test_a_release_can_postpone_the_message(outbox: Outbox) -> None:
    number = outbox.one()
    release(outbox.connection, outbox.claim(), "deferred", timedelta(seconds=30))
    assert outbox.seconds_until(number, "due_at") == pytest.approx(30, abs=15)


def test_only_the_holder_of_the_current_claim_can_release_it(outbox: Outbox) -> None:
    for status, lease, offset, holds in HOLDERS:
        number = outbox.at(outbox.one(), status, lease=lease)
        before = outbox.row(number)
        release(outbox.connection, [Claim(number, "gateway", before.claim_token + offset)], "why")
        assert (outbox.row(number) != before) is holds, (status, lease, offset)


# The next due message


def next_due(outbox: Outbox, *agents: str) -> float | None:
    found = claims.next_due(outbox.connection, agents or ["gateway"])
    return None if found is None else found.total_seconds()


def test_nothing_is_due_next_if_nothing_waits(outbox: Outbox) -> None:
    assert next_due(outbox) is None
    outbox.at(outbox.one(), "sent")
    outbox.at(outbox.one(), "sending")
    outbox.at(outbox.one(), "retry", lease="1 minute")
    outbox.one(agent="smtp", channel="email", recipient="a@b.cd")
    assert next_due(outbox) is None
    assert claims.next_due(outbox.connection, []) is None


def test_a_message_that_waits_for_capacity_is_due_now(outbox: Outbox) -> None:
    outbox.store(3)
    outbox.claim(gateway=2)
    assert next_due(outbox) == 0


def test_the_earliest_message_of_any_agent_and_priority_is_due_next(outbox: Outbox) -> None:
    for hours, priority, agent in ((5, 0, "gateway"), (3, 3, "gateway"), (4, 2, "smtp")):
        outbox.move(outbox.one(priority=priority, agent=agent), due_at=f"{hours} hours")
    assert next_due(outbox) == pytest.approx(3 * 3600, abs=60)
    assert next_due(outbox, "smtp") == pytest.approx(4 * 3600, abs=60)
    assert next_due(outbox, "smtp", "gateway") == pytest.approx(3 * 3600, abs=60)


def test_the_wait_for_the_next_message_is_at_most_a_day(outbox: Outbox) -> None:
    outbox.move(outbox.one(), due_at="400 days")
    assert next_due(outbox) == 86400
