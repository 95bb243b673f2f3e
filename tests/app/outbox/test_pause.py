"""Nothing is sent while its agent or the scheduler is paused, whatever races with the pause."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from app import db
from app.outbox import claim as claims
from app.outbox import settle as delivery
from app.outbox.pause import pause_agent, pause_scheduler, resume_agent, resume_scheduler
from tests.app.outbox.driver import LEASE, Outbox

PAUSES: dict[str, tuple[Any, Any]] = {
    "agent": (
        lambda connection: pause_agent(connection, "gateway", reason="why", by="ann"),
        lambda connection: resume_agent(connection, "gateway", by="ann"),
    ),
    "scheduler": (
        lambda connection: pause_scheduler(connection, by="ann"),
        lambda connection: resume_scheduler(connection, by="ann"),
    ),
}


@pytest.fixture(params=PAUSES)
def pause(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    return PAUSES[request.param]


def scan(connection: Any) -> list[claims.Claim] | None:
    """What the scan does, in one transaction."""
    if not claims.try_lock(connection):
        return None
    state = claims.begin_scan(connection)
    if not state.running or "gateway" in state.paused_agents:
        return []
    return claims.claim(connection, {"gateway": 100}, LEASE)


@pytest.mark.parametrize(
    ("status", "attempts", "lease", "becomes", "is_called_back"),
    [
        ("queued", 0, "1 minute", "outbox", True),
        ("queued", 2, "1 minute", "retry", True),
        ("retry", 1, "1 minute", "retry", True),
        ("retry", 1, None, "retry", False),
        ("outbox", 0, None, "outbox", False),
        ("sending", 1, "1 minute", "sending", False),
        ("sent", 1, None, "sent", False),
    ],
)
def test_a_pause_takes_back_what_is_not_yet_being_sent(
    outbox: Outbox,
    pause: tuple[Any, Any],
    status: str,
    attempts: int,
    lease: str | None,
    becomes: str,
    is_called_back: bool,
) -> None:
    number = outbox.at(outbox.one(), status, attempts=attempts, lease=lease)
    before = outbox.row(number)
    pause[0](outbox.connection)
    row = outbox.row(number)
    assert (row.status, row.attempts) == (becomes, attempts)
    if is_called_back:
        assert (row.lease_until, row.claim_token) == (None, before.claim_token + 1)
        assert outbox.start(number, before.claim_token) is None
    else:
        assert row == before


def test_a_pause_of_one_agent_leaves_the_others_alone(outbox: Outbox) -> None:
    smtp = outbox.one(agent="smtp", channel="email", recipient="a@example.com")
    [claim] = outbox.claim(smtp=1)
    pause_agent(outbox.connection, "gateway", reason=None, by="ann")
    assert outbox.start(smtp, claim.token) is not None


def test_what_is_paused_accepts_and_sends_once_it_is_resumed(
    outbox: Outbox, pause: tuple[Any, Any]
) -> None:
    before = outbox.one()
    pause[0](outbox.connection)
    after = outbox.one()
    with db.transaction() as connection:
        assert scan(connection) == []
    pause[1](outbox.connection)
    with db.transaction() as connection:
        found = scan(connection)
    assert found is not None
    assert [claim.message_id for claim in found] == [before, after]


def test_to_pause_and_to_resume_twice_is_to_do_it_once(
    outbox: Outbox, pause: tuple[Any, Any]
) -> None:
    outbox.one()
    for _ in range(2):
        pause[0](outbox.connection)
        with db.transaction() as connection:
            assert scan(connection) == []
    for _ in range(2):
        pause[1](outbox.connection)
    with db.transaction() as connection:
        assert scan(connection)


def test_who_paused_and_why_is_kept(outbox: Outbox) -> None:
    pause_agent(outbox.connection, "gateway", reason="why", by="ann")
    row = outbox.execute("SELECT * FROM agent_states").one()
    assert (row.agent, row.paused, row.reason, row.changed_by) == ("gateway", True, "why", "ann")
    resume_agent(outbox.connection, "gateway", by="bob")
    row = outbox.execute("SELECT * FROM agent_states").one()
    assert (row.agent, row.paused, row.reason, row.changed_by) == ("gateway", False, None, "bob")
    pause_scheduler(outbox.connection, by="eve")
    row = outbox.execute("SELECT * FROM scheduler_state").one()
    assert (row.running, row.changed_by) == (False, "eve")


def test_a_pause_waits_for_the_scan_under_way_and_takes_back_what_it_queued(
    outbox: Outbox, pause: tuple[Any, Any], waits_for_lock: Callable[[], bool]
) -> None:
    number = outbox.one()

    def pausing() -> None:
        with db.transaction() as connection:
            pause[0](connection)

    with ThreadPoolExecutor(1) as pool:
        with db.transaction() as scanning:
            found = scan(scanning)
            paused = pool.submit(pausing)
            while not waits_for_lock():
                assert not paused.done(), "it went past a scan that has not committed"
        paused.result()
    assert found is not None
    assert outbox.start(number, found[0].number) is None
    assert outbox.status(number) == "outbox"


def test_a_scan_does_not_begin_while_a_pause_has_not_committed(
    outbox: Outbox, pause: tuple[Any, Any]
) -> None:
    outbox.one()
    with db.transaction() as pausing:
        pause[0](pausing)
        with db.transaction() as scanning:
            assert scan(scanning) is None
    with db.transaction() as scanning:
        assert scan(scanning) == []


@pytest.mark.parametrize("status", ["queued", "retry"])
def test_a_task_that_meets_a_pause_half_way_sends_nothing(
    outbox: Outbox,
    pause: tuple[Any, Any],
    waits_for_lock: Callable[[], bool],
    status: str,
) -> None:
    number = outbox.at(outbox.one(), status, lease="1 minute")
    claim = outbox.row(number).claim_token
    with ThreadPoolExecutor(1) as pool, db.autocommit() as other:
        with db.transaction() as pausing:
            pause[0](pausing)
            starting = pool.submit(delivery.start, other, number, claim, LEASE)
            while not waits_for_lock():
                assert not starting.done()
        assert starting.result() is None
    assert outbox.row(number).lease_until is None


def test_after_a_pause_has_committed_nothing_is_queued_or_started_whatever_raced_with_it(
    outbox: Outbox, pause: tuple[Any, Any]
) -> None:
    outbox.store(200)

    def carry() -> int:
        started = 0
        for _ in range(25):
            with db.transaction() as connection:
                found = scan(connection) or []
            for claim in found[:20]:
                with db.autocommit() as connection:
                    if delivery.start(connection, claim.message_id, claim.token, LEASE):
                        started += 1
        return started

    with ThreadPoolExecutor(4) as pool:
        carriers = [pool.submit(carry) for _ in range(3)]
        with db.transaction() as connection:
            pause[0](connection)
        with db.autocommit() as connection:
            at_the_pause = Outbox(connection).execute(
                "SELECT count(*) FROM message_events WHERE to_status = 'sending'"
            )
            at_the_pause = at_the_pause.scalar_one()
        total = sum(carrier.result() for carrier in carriers)
    assert total == at_the_pause
    assert outbox.execute("SELECT count(*) FROM messages WHERE status = 'queued'").scalar_one() == 0
