"""queued → sending, or back without a try: only who holds the claim changes anything."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from app import db
from app.agents import Agents
from app.outbox import settle as delivery
from app.outbox.cancel import cancel
from app.outbox.expire import expire
from app.outbox.outcome import Outcome
from app.outbox.pause import pause_agent, pause_scheduler, resume_agent, resume_scheduler
from app.outbox.rescue import rescue
from tests.app.outbox.driver import LEASE, Outbox

WAIT = timedelta(seconds=30)
AGAIN = Outcome(status="retry", result="unavailable", code="503", reason="503: busy", wait=WAIT)
HELD = Outcome(status="retry", result="unavailable", code="503", wait=WAIT, on_celery=True)
FAILED = Outcome(status="failed", result="rejected", code="550", reason="550: no such user")
UNKNOWN = Outcome(status="unknown", result="uncertain", code="timeout", reason="may have been sent")
PUT_BACK = Outcome(status="outbox", result="misconfigured", code="401", reason="waits")


def test_to_start_takes_the_message_and_counts_the_try(outbox: Outbox) -> None:
    started, claim = outbox.started(subject="s", metadata={"k": 1}, priority=0)
    assert (started.agent, started.profile, started.attempt) == ("gateway", "default", 1)
    assert (started.message.subject, started.message.metadata) == ("s", {"k": 1})
    row = outbox.row(started.message.id)
    assert (row.status, row.attempts, row.claim_token) == ("sending", 1, claim)
    assert outbox.seconds_until(row.id, "lease_until") == pytest.approx(60, abs=30)
    assert outbox.events(row.id)[-1] == ("queued", "sending")


def test_a_doubled_task_starts_nothing(outbox: Outbox) -> None:
    started, claim = outbox.started()
    assert outbox.start(started.message.id, claim) is None
    outbox.settle(started, claim)
    assert outbox.start(started.message.id, claim) is None
    assert outbox.row(started.message.id).attempts == 1


@pytest.mark.parametrize("claim", [0, 2, -1])
def test_another_claim_starts_nothing(outbox: Outbox, claim: int) -> None:
    number = outbox.one()
    outbox.claim()
    assert outbox.start(number, claim) is None
    assert outbox.start(number, 1) is not None


def test_a_message_that_is_gone_is_not_started(outbox: Outbox) -> None:
    assert outbox.start(4711, 1) is None
    assert delivery.profile_of(outbox.connection, 4711, 1) is None


@pytest.mark.parametrize(
    "meanwhile",
    [
        lambda outbox, number, _: outbox.move(number, due_at="1 hour"),
        lambda outbox, number, _: outbox.move(number, expires_at="-1 second"),
        lambda outbox, number, _: cancel(outbox.connection, [number]),
        lambda outbox, number, _: (
            outbox.move(number, expires_at="-1 second"),
            expire(outbox.connection),
        ),
        lambda outbox, *_: pause_agent(outbox.connection, "gateway", reason=None, by="a"),
        lambda outbox, *_: pause_scheduler(outbox.connection, by="ann"),
        lambda outbox, number, agents: (
            outbox.move(number, lease_until="-1 second"),
            rescue(outbox.connection, agents),
        ),
    ],
    ids=["postponed", "too late", "cancelled", "expired", "paused", "stopped", "lost"],
)
def test_what_may_not_be_sent_any_more_is_not_started(
    outbox: Outbox, loaded_agents: Agents, meanwhile: Callable[..., Any]
) -> None:
    number = outbox.one()
    [claim] = outbox.claim()
    meanwhile(outbox, number, loaded_agents)
    assert outbox.start(number, claim.token) is None
    assert outbox.row(number).attempts == 0


@pytest.mark.parametrize("pause", ["agent", "scheduler"])
def test_a_retry_that_a_send_under_way_left_behind_a_pause_is_not_started(
    outbox: Outbox, pause: str
) -> None:
    """The pause found it sending, and so could not take it out of anybody's hands."""
    started, claim = outbox.started()
    number = started.message.id
    if pause == "agent":
        pause_agent(outbox.connection, "gateway", reason=None, by="ann")
    else:
        pause_scheduler(outbox.connection, by="ann")
    assert outbox.settle(started, claim, HELD)
    outbox.move(number, due_at="-1 second")
    assert outbox.start(number, claim + 1) is None

    if pause == "agent":
        resume_agent(outbox.connection, "gateway", by="ann")
    else:
        resume_scheduler(outbox.connection, by="ann")
    assert outbox.start(number, claim + 1) is not None


def test_of_many_that_start_at_once_one_does(outbox: Outbox) -> None:
    number = outbox.one()
    [claim] = outbox.claim()

    def start(_: int) -> bool:
        with db.autocommit() as connection:
            return delivery.start(connection, number, claim.token, LEASE) is not None

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(start, range(16))) == [False] * 15 + [True]
    assert outbox.row(number).attempts == 1


@pytest.mark.parametrize(
    ("status", "lease", "profile"),
    [
        ("queued", "1 minute", "eu"),
        ("retry", "1 minute", "eu"),
        ("retry", None, None),
        ("outbox", None, None),
        ("sending", "1 minute", None),
        ("cancelled", None, None),
    ],
)
def test_the_profile_is_told_to_whom_may_start(
    outbox: Outbox, status: str, lease: str | None, profile: str | None
) -> None:
    number = outbox.at(outbox.one(profile="eu"), status, lease=lease)
    claim = outbox.row(number).claim_token
    assert delivery.profile_of(outbox.connection, number, claim) == profile
    assert delivery.profile_of(outbox.connection, number, claim - 1) is None


# No try


@pytest.mark.parametrize(
    ("attempts", "lease", "becomes"), [(0, None, "outbox"), (2, None, "retry")]
)
def test_what_is_released_is_due_after_its_wait_and_counts_no_try(
    outbox: Outbox, attempts: int, lease: str | None, becomes: str
) -> None:
    number = outbox.at(outbox.one(), "queued", attempts=attempts)
    claim = outbox.row(number).claim_token
    delivery.release(outbox.connection, number, claim, WAIT, "waits")
    row = outbox.row(number)
    assert (row.status, row.attempts, row.reason) == (becomes, attempts, "waits")
    assert (row.lease_until, row.claim_token) == (None, claim + 1)
    assert outbox.seconds_until(number, "due_at") == pytest.approx(30, abs=15)
    assert outbox.attempts(number) == []


def test_what_is_refused_fails_and_counts_no_try(outbox: Outbox) -> None:
    number = outbox.one()
    [claim] = outbox.claim()
    delivery.refuse(outbox.connection, number, claim.token, "rate_limited", "over the limit")
    row = outbox.row(number)
    assert (row.status, row.error_code, row.reason) == ("failed", "rate_limited", "over the limit")
    assert (row.attempts, row.lease_until) == (0, None)
    assert row.finished_at is not None
    assert outbox.attempts(number) == []


@pytest.mark.parametrize("act", ["release", "refuse"])
@pytest.mark.parametrize(
    ("status", "lease", "claim_off", "changes"),
    [
        ("queued", "1 minute", 0, True),
        ("retry", "1 minute", 0, True),
        ("queued", "1 minute", -1, False),
        ("queued", "1 minute", 1, False),
        ("retry", None, 0, False),
        ("outbox", None, 0, False),
        ("sending", "1 minute", 0, False),
        ("cancelled", None, 0, False),
        ("sent", None, 0, False),
    ],
)
def test_only_what_the_claim_still_holds_is_released_or_refused(
    outbox: Outbox, act: str, status: str, lease: str | None, claim_off: int, changes: bool
) -> None:
    number = outbox.at(outbox.one(), status, lease=lease)
    before = outbox.row(number)
    claim = before.claim_token + claim_off
    if act == "release":
        delivery.release(outbox.connection, number, claim, WAIT, "waits")
    else:
        delivery.refuse(outbox.connection, number, claim, "code", "refused")
    assert (outbox.row(number) != before) is changes
