"""Which messages are due, who gets them, and what becomes of those whose holder is lost."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from app import db
from app.agents import Agents
from app.outbox import claim as claims
from app.outbox.claim import Claim
from app.outbox.pause import pause_agent, pause_scheduler, resume_agent
from tests.app.outbox.driver import LEASE, Outbox


def claimed(found: list[Claim]) -> list[int]:
    return [claim.message_id for claim in found]


# Order and room


def test_urgent_messages_go_first_and_among_equals_the_oldest(outbox: Outbox) -> None:
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
        (twin, "-1 minute"),
    ):
        outbox.move(number, due_at=age)
    outbox.execute(
        "UPDATE messages SET due_at = (SELECT due_at FROM messages WHERE id = :one) WHERE id = :id",
        one=medium_new,
        id=twin,
    )
    order = [immediate, high, medium_old, medium_new, twin, low_old]
    assert claimed(outbox.claim(gateway=4)) == order[:4]
    assert claimed(outbox.claim(gateway=4)) == order[4:]


def test_each_agent_gets_as_many_as_it_has_room_for(outbox: Outbox) -> None:
    gateway = outbox.store(5)
    smtp = outbox.store(5, agent="smtp", channel="email", recipient="a@example.com")
    outbox.store(5, agent="api", channel="http", recipient="/a")
    found = outbox.claim(gateway=2, smtp=4, absent=3)
    assert Counter(claim.agent for claim in found) == {"gateway": 2, "smtp": 4}
    assert {*claimed(found)} == {*gateway[:2], *smtp[:4]}


def test_the_room_is_for_all_priorities_together(outbox: Outbox) -> None:
    for priority in (3, 2, 1, 0):
        outbox.store(2, priority=priority)
    assert len(outbox.claim(gateway=3)) == 3
    assert len(outbox.claim(gateway=3)) == 3
    assert len(outbox.claim(gateway=3)) == 2


def test_a_claim_leases_the_message_and_raises_its_number(outbox: Outbox) -> None:
    number = outbox.one()
    assert outbox.claim() == [Claim(number, "gateway", 1)]
    row = outbox.row(number)
    assert (row.status, row.claim_token, row.attempts) == ("queued", 1, 0)
    assert outbox.seconds_until(number, "lease_until") == pytest.approx(
        LEASE.total_seconds(), abs=30
    )
    assert outbox.events(number)[-1] == ("outbox", "queued")


@pytest.mark.parametrize(
    ("due_at", "expires_at", "is_due"),
    [
        ("0", None, True),
        ("-10 years", None, True),
        ("1 hour", None, False),
        ("-1 minute", "1 hour", True),
        ("-1 minute", "-1 second", False),
        ("1 hour", "2 hours", False),
    ],
)
@pytest.mark.parametrize("status", ["outbox", "retry"])
def test_a_message_is_due_from_due_at_until_expires_at(
    outbox: Outbox, status: str, due_at: str, expires_at: str | None, is_due: bool
) -> None:
    number = outbox.at(outbox.one(), status)
    outbox.move(number, due_at=due_at)
    if expires_at:
        outbox.move(number, expires_at=expires_at)
    assert claimed(outbox.claim()) == [number] * is_due


@pytest.mark.parametrize(
    ("status", "lease"),
    [
        ("queued", "1 minute"),
        ("queued", "-1 minute"),
        ("sending", "-1 minute"),
        ("retry", "1 minute"),
        ("sent", None),
        ("delivered", None),
        ("bounced", None),
        ("failed", None),
        ("unknown", None),
        ("cancelled", None),
        ("expired", None),
    ],
)
def test_what_is_held_or_has_ended_is_not_claimed(
    outbox: Outbox, status: str, lease: str | None
) -> None:
    outbox.at(outbox.one(), status, lease=lease)
    assert outbox.claim() == []


@pytest.mark.parametrize(
    "moment", ["-infinity", "infinity", "4000-01-01 BC", "0001-01-01 BC", "20000-01-01"]
)
def test_no_moment_that_a_program_inserts_can_stop_the_scan(
    outbox: Outbox, loaded_agents: Agents, moment: str
) -> None:
    ordinary = outbox.one()
    outbox.insert(due_at=moment)
    outbox.insert(expires_at=moment)
    outbox.route(loaded_agents)
    assert ordinary in claimed(outbox.claim())
    outbox.claim()
    wait = claims.next_due(outbox.connection, ["gateway"])
    assert wait is None or wait <= claims.MAX_WAIT


def test_rows_that_another_transaction_holds_are_passed_over(outbox: Outbox) -> None:
    first, second, third = outbox.store(3)
    with db.transaction() as connection:
        Outbox(connection).execute("SELECT FROM messages WHERE id = :id FOR UPDATE", id=second)
        assert claimed(outbox.claim(gateway=2)) == [first, third]
    assert claimed(outbox.claim(gateway=2)) == [second]


def test_two_scanners_at_once_never_claim_the_same(outbox: Outbox) -> None:
    scanners = 4
    numbers = outbox.store(400)
    together = Barrier(scanners)

    def scan() -> list[int]:
        found: list[int] = []
        together.wait()
        with db.autocommit() as connection:
            while some := Outbox(connection).claim(gateway=7):
                found += claimed(some)
        return found

    with ThreadPoolExecutor(scanners) as pool:
        each = [future.result() for future in [pool.submit(scan) for _ in range(scanners)]]
    counts = Counter(number for found in each for number in found)
    assert set(counts) == set(numbers)
    assert set(counts.values()) == {1}


# The lock of the scan, and what it reads


def test_one_scan_at_a_time_holds_the_lock(database: str) -> None:
    with db.transaction() as first:
        assert claims.try_lock(first)
        with db.transaction() as second:
            assert not claims.try_lock(second)
    with db.transaction() as third:
        assert claims.try_lock(third)


def test_a_scan_knows_what_is_paused_and_held_and_not_yet_adopted(outbox: Outbox) -> None:
    state = claims.begin_scan(outbox.connection)
    assert (state.running, state.paused_agents, state.in_flight, state.has_unrouted) == (
        True,
        set(),
        {},
        False,
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


def test_a_scan_leaves_the_moment_it_took_place(outbox: Outbox) -> None:
    last = "SELECT last_scan_at FROM scheduler_state"
    assert outbox.execute(last).scalar_one() is None
    claims.begin_scan(outbox.connection)
    first = outbox.execute(last).scalar_one()
    claims.begin_scan(outbox.connection)
    assert outbox.execute(last).scalar_one() > first


@pytest.mark.parametrize(
    ("column", "value", "unadopted"),
    [("agent", "NULL", True), ("conversation_id", "NULL", True), ("agent", "'x'", False)],
)
def test_what_lacks_its_agent_or_conversation_is_to_be_adopted(
    outbox: Outbox, column: str, value: str, unadopted: bool
) -> None:
    outbox.execute(f"UPDATE messages SET {column} = {value} WHERE id = :id", id=outbox.one())
    assert claims.begin_scan(outbox.connection).has_unrouted is unadopted


# Back again


@pytest.mark.parametrize(("attempts", "becomes"), [(0, "outbox"), (2, "retry")])
def test_a_claim_that_is_given_back_is_due_again_and_its_tasks_are_stale(
    outbox: Outbox, attempts: int, becomes: str
) -> None:
    number = outbox.one()
    outbox.at(number, "retry", attempts=attempts)
    [claim] = outbox.claim()
    claims.give_back(outbox.connection, [claim])
    row = outbox.row(number)
    assert (row.status, row.attempts, row.lease_until) == (becomes, attempts, None)
    assert outbox.start(number, claim.token) is None
    [again] = outbox.claim()
    assert again.token > claim.token


@pytest.mark.parametrize("status", ["sending", "sent", "cancelled"])
def test_a_claim_that_went_on_meanwhile_is_not_given_back(outbox: Outbox, status: str) -> None:
    number = outbox.one()
    [claim] = outbox.claim()
    outbox.execute(
        "UPDATE messages SET status = :status,"
        " lease_until = CASE :status WHEN 'sending' THEN now() END WHERE id = :id",
        status=status,
        id=number,
    )
    claims.give_back(outbox.connection, [claim])
    assert outbox.status(number) == status


def test_a_claim_that_is_older_than_the_message_is_not_given_back(outbox: Outbox) -> None:
    number = outbox.one()
    [old] = outbox.claim()
    claims.give_back(outbox.connection, [old])
    [new] = outbox.claim()
    claims.give_back(outbox.connection, [old])
    assert outbox.status(number) == "queued"
    assert outbox.start(number, new.token) is not None


# When the next one is due


def next_due(outbox: Outbox, *agents: str) -> float | None:
    found = claims.next_due(outbox.connection, agents or ["gateway"])
    return None if found is None else found.total_seconds()


def test_nothing_is_due_next_where_nothing_waits(outbox: Outbox) -> None:
    assert next_due(outbox) is None
    outbox.at(outbox.one(), "sent")
    outbox.at(outbox.one(), "sending")
    outbox.at(outbox.one(), "retry", lease="1 minute")
    outbox.one(agent="smtp", channel="email", recipient="a@b.cd")
    assert next_due(outbox) is None
    assert claims.next_due(outbox.connection, []) is None


def test_what_waits_for_room_is_due_now(outbox: Outbox) -> None:
    outbox.store(3)
    outbox.claim(gateway=2)
    assert next_due(outbox) == 0


def test_the_earliest_moment_of_any_agent_and_priority_is_told(outbox: Outbox) -> None:
    for hours, priority, agent in ((5, 0, "gateway"), (3, 3, "gateway"), (4, 2, "smtp")):
        outbox.move(outbox.one(priority=priority, agent=agent), due_at=f"{hours} hours")
    assert next_due(outbox) == pytest.approx(3 * 3600, abs=60)
    assert next_due(outbox, "smtp") == pytest.approx(4 * 3600, abs=60)
    assert next_due(outbox, "smtp", "gateway") == pytest.approx(3 * 3600, abs=60)


def test_what_is_far_off_is_asked_again_within_a_day(outbox: Outbox) -> None:
    outbox.move(outbox.one(), due_at="400 days")
    assert next_due(outbox) == 86400
