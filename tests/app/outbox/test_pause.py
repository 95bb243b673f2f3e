"""Nothing is sent while its agent or the scheduler is paused, whatever races with the pause."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from app import db
from app.outbox import claim as claims
from app.outbox.pause import pause_agent, pause_scheduler, resume_agent, resume_scheduler
from app.outbox.start import start
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
    """Claim as the scan does, in one transaction."""
    if not claims.try_lock(connection):
        return None
    state = claims.begin_scan(connection)
    if not state.running or "gateway" in state.paused_agents:
        return []
    return claims.claim(connection, {"gateway": 100}, LEASE)


def test_a_pause_recalls_messages_that_have_not_started_sending(
    outbox: Outbox, pause: tuple[Any, Any]
) -> None:
    table = [
        ("queued", 0, "1 minute", "outbox"),
        ("queued", 2, "1 minute", "retry"),
        ("retry", 1, "1 minute", "retry"),
        ("retry", 1, None, None),
        ("outbox", 0, None, None),
        ("sending", 1, "1 minute", None),
        ("sent", 1, None, None),
    ]
    before = {}
    for status, attempts, lease, recalled in table:
        number = outbox.at(outbox.one(), status, attempts=attempts, lease=lease)
        before[number] = (outbox.row(number), recalled)
    pause[0](outbox.connection)
    for number, (old, recalled) in before.items():
        row = outbox.row(number)
        if recalled is None:
            assert row == old
            continue
        assert (row.status, row.attempts) == (recalled, old.attempts)
        assert (row.lease_until, row.claim_token) == (None, old.claim_token + 1)
        assert outbox.start(number, old.claim_token) is None


def test_resume_makes_the_retries_of_what_was_paused_due_now(
    outbox: Outbox, pause: tuple[Any, Any]
) -> None:
    parked = outbox.at(outbox.one(), "retry", attempts=1)
    scheduled = outbox.one()
    for number in (parked, scheduled):
        outbox.move(number, due_at="1 day")
    held_by_celery = outbox.at(outbox.one(), "retry", attempts=1, lease="1 minute")
    before = outbox.row(held_by_celery)
    pause[1](outbox.connection)
    assert [claim.message_id for claim in outbox.claim()] == [parked]
    assert outbox.row(parked).attempts == 1
    assert outbox.row(held_by_celery) == before


def test_resume_of_one_agent_leaves_the_retries_of_others_alone(outbox: Outbox) -> None:
    number = outbox.at(outbox.one(), "retry", attempts=1)
    outbox.move(number, due_at="1 day")
    resume_agent(outbox.connection, "smtp", by="ann")
    assert outbox.claim() == []


def test_a_pause_of_one_agent_leaves_the_others_alone(outbox: Outbox) -> None:
    smtp = outbox.one(agent="smtp", channel="email", recipient="a@example.com")
    [claim] = outbox.claim(smtp=1)
    pause_agent(outbox.connection, "gateway", reason=None, by="ann")
    assert outbox.start(smtp, claim.token) is not None


def test_messages_are_accepted_during_a_pause_and_sent_after_it(
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


def test_pausing_and_resuming_are_idempotent(outbox: Outbox, pause: tuple[Any, Any]) -> None:
    outbox.one()
    for _ in range(2):
        pause[0](outbox.connection)
        with db.transaction() as connection:
            assert scan(connection) == []
    for _ in range(2):
        pause[1](outbox.connection)
    with db.transaction() as connection:
        assert scan(connection)


def test_who_paused_and_why_is_recorded(outbox: Outbox) -> None:
    pause_agent(outbox.connection, "gateway", reason="why", by="ann")
    row = outbox.execute("SELECT * FROM agent_states").one()
    assert (row.agent, row.paused, row.reason, row.changed_by) == ("gateway", True, "why", "ann")
    resume_agent(outbox.connection, "gateway", by="bob")
    row = outbox.execute("SELECT * FROM agent_states").one()
    assert (row.agent, row.paused, row.reason, row.changed_by) == ("gateway", False, None, "bob")
    pause_scheduler(outbox.connection, by="eve")
    row = outbox.execute("SELECT * FROM scheduler_state").one()
    assert (row.running, row.changed_by) == (False, "eve")


def test_a_pause_waits_for_a_scan_in_progress_and_recalls_what_it_queued(
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
                assert not paused.done()
        paused.result()
    assert found is not None
    assert outbox.start(number, found[0].token) is None
    assert outbox.status(number) == "outbox"


def test_a_scan_does_not_start_before_a_pause_has_committed(
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
def test_a_task_that_meets_an_uncommitted_pause_sends_nothing(
    outbox: Outbox,
    pause: tuple[Any, Any],
    waits_for_lock: Callable[[], bool],
    status: str,
) -> None:
    number = outbox.at(outbox.one(), status, lease="1 minute")
    claim = claims.Claim(number, "gateway", outbox.row(number).claim_token)
    with ThreadPoolExecutor(1) as pool, db.autocommit() as other:
        with db.transaction() as pausing:
            pause[0](pausing)
            starting = pool.submit(start, other, [claim], LEASE)
            while not waits_for_lock():
                assert not starting.done()
        assert starting.result() == []
    assert outbox.row(number).lease_until is None


def test_nothing_is_queued_or_started_after_a_pause_has_committed(
    outbox: Outbox, pause: tuple[Any, Any]
) -> None:
    outbox.store(200)

    def deliver() -> int:
        started = 0
        for _ in range(25):
            with db.transaction() as connection:
                found = scan(connection) or []
            for claim in found[:20]:
                with db.autocommit() as connection:
                    if start(connection, [claim], LEASE):
                        started += 1
        return started

    with ThreadPoolExecutor(4) as pool:
        workers = [pool.submit(deliver) for _ in range(3)]
        with db.transaction() as connection:
            pause[0](connection)
        with db.autocommit() as connection:
            at_the_pause = Outbox(connection).execute(
                "SELECT count(*) FROM message_events WHERE to_status = 'sending'"
            )
            at_the_pause = at_the_pause.scalar_one()
        total = sum(worker.result() for worker in workers)
    assert total == at_the_pause
    assert outbox.execute("SELECT count(*) FROM messages WHERE status = 'queued'").scalar_one() == 0
