"""Start claimed messages, or reject them before an attempt."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from app import db, suppression
from app.agents import Agents
from app.outbox.cancel import cancel
from app.outbox.claim import Claim
from app.outbox.expire import expire
from app.outbox.outcome import Outcome
from app.outbox.pause import pause_agent, pause_scheduler, resume_agent, resume_scheduler
from app.outbox.replay import replay
from app.outbox.rescue import rescue
from app.outbox.start import find_profile, reject, start
from tests.app.outbox.driver import HOLDERS, LEASE, Outbox

PHONE = "+4915112345678"
CELERY_RETRY = Outcome(
    status="retry",
    result="unavailable",
    code="503",
    wait=timedelta(seconds=30),
    on_celery=True,
)
MAIL = {
    "channel": "email",
    "agent": "smtp",
    "recipient": "Ann <Ann@example.com>",
    "cc": ["Bob <bob@example.com>", "carl@example.com"],
    "bcc": ["dora@example.com"],
}


def test_starting_a_message_counts_the_attempt(outbox: Outbox) -> None:
    started, token = outbox.started(subject="s", metadata={"k": 1}, priority=0)
    assert started.claim == Claim(started.message.id, "gateway", token)
    assert (started.profile, started.attempt) == ("default", 1)
    assert (started.message.subject, started.message.metadata) == ("s", {"k": 1})
    row = outbox.row(started.message.id)
    assert (row.status, row.attempts, row.claim_token) == ("sending", 1, token)
    assert outbox.seconds_until(row.id, "lease_until") == pytest.approx(60, abs=30)
    assert outbox.events(row.id)[-1] == ("queued", "sending")


def test_many_messages_start_in_one_statement_each_under_its_own_claim(outbox: Outbox) -> None:
    first, second, third = outbox.store(3)
    claims = outbox.claim()
    cancel(outbox.connection, [second])
    started = start(outbox.connection, claims, LEASE)
    assert sorted(one.message.id for one in started) == [first, third]
    assert {one.claim for one in started} == {
        claim for claim in claims if claim.message_id != second
    }


def test_a_repeated_task_starts_nothing(outbox: Outbox) -> None:
    started, token = outbox.started()
    assert outbox.start(started.message.id, token) is None
    outbox.settle(started, token)
    assert outbox.start(started.message.id, token) is None
    assert outbox.row(started.message.id).attempts == 1


def test_a_stale_claim_starts_nothing(outbox: Outbox) -> None:
    number = outbox.one()
    outbox.claim()
    for token in (0, 2, -1):
        assert outbox.start(number, token) is None
    assert outbox.start(number, 1) is not None


def test_a_deleted_message_is_not_started(outbox: Outbox) -> None:
    assert outbox.start(4711, 1) is None
    assert find_profile(outbox.connection, Claim(4711, "gateway", 1)) is None


MEANWHILE: dict[str, Callable[[Outbox, int, Agents], Any]] = {
    "postponed": lambda outbox, number, _: outbox.move(number, due_at="1 hour"),
    "overdue": lambda outbox, number, _: outbox.move(number, expires_at="-1 second"),
    "cancelled": lambda outbox, number, _: cancel(outbox.connection, [number]),
    "expired": lambda outbox, number, _: (
        outbox.move(number, expires_at="-1 second"),
        expire(outbox.connection),
    ),
    "rescued": lambda outbox, number, agents: (
        outbox.move(number, lease_until="-1 second"),
        rescue(outbox.connection, agents),
    ),
    "agent paused": lambda outbox, *_: pause_agent(
        outbox.connection, "gateway", reason=None, by="ann"
    ),
    "scheduler paused": lambda outbox, *_: pause_scheduler(outbox.connection, by="ann"),
}


@pytest.mark.parametrize("meanwhile", MEANWHILE)
def test_a_message_that_must_not_be_sent_any_more_is_not_started(
    outbox: Outbox, loaded_agents: Agents, meanwhile: str
) -> None:
    number = outbox.one()
    [claim] = outbox.claim()
    MEANWHILE[meanwhile](outbox, number, loaded_agents)
    assert outbox.start(number, claim.token) is None
    assert outbox.row(number).attempts == 0


@pytest.mark.parametrize("paused", ["agent", "scheduler"])
def test_a_retry_after_a_send_in_progress_does_not_start_during_a_pause(
    outbox: Outbox, paused: str
) -> None:
    """The pause found the message being sent, so it could not take it back."""
    started, token = outbox.started()
    number = started.message.id
    if paused == "agent":
        pause_agent(outbox.connection, "gateway", reason=None, by="ann")
    else:
        pause_scheduler(outbox.connection, by="ann")
    assert outbox.settle(started, token, CELERY_RETRY)
    outbox.move(number, due_at="-1 second")
    assert outbox.start(number, token + 1) is None

    if paused == "agent":
        resume_agent(outbox.connection, "gateway", by="ann")
    else:
        resume_scheduler(outbox.connection, by="ann")
    assert outbox.start(number, token + 1) is not None


def test_only_one_of_many_concurrent_starts_succeeds(outbox: Outbox) -> None:
    number = outbox.one()
    claims = outbox.claim()

    def begin(_: int) -> bool:
        with db.autocommit() as connection:
            return bool(start(connection, claims, LEASE))

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(begin, range(16))) == [False] * 15 + [True]
    assert outbox.row(number).attempts == 1


def test_only_the_holder_of_a_claim_can_read_its_profile(outbox: Outbox) -> None:
    for status, lease, offset, holds in HOLDERS:
        number = outbox.at(outbox.one(profile="eu"), status, lease=lease)
        claim = Claim(number, "gateway", outbox.row(number).claim_token + offset)
        assert find_profile(outbox.connection, claim) == ("eu" if holds else None)


# Reject


def test_a_rejected_message_fails_without_an_attempt(outbox: Outbox) -> None:
    number = outbox.one()
    [claim] = outbox.claim()
    reject(outbox.connection, claim, "rate_limited", "over the limit")
    row = outbox.row(number)
    assert (row.status, row.error_code, row.reason) == ("failed", "rate_limited", "over the limit")
    assert (row.attempts, row.lease_until) == (0, None)
    assert row.finished_at is not None
    assert outbox.attempts(number) == []


def test_only_the_holder_of_a_claim_can_reject_its_message(outbox: Outbox) -> None:
    for status, lease, offset, holds in HOLDERS:
        number = outbox.at(outbox.one(), status, lease=lease)
        before = outbox.row(number)
        claim = Claim(number, "gateway", before.claim_token + offset)
        reject(outbox.connection, claim, "code", "reason")
        assert (outbox.row(number) != before) is holds, (status, lease, offset)


# Suppressed recipients


def suppress(outbox: Outbox, channel: str, address: str) -> suppression.Entry:
    key = suppression.key(channel, address)
    return suppression.add(outbox.connection, key, reason="opt_out", by="ann")[0]


def queued(outbox: Outbox, **values: Any) -> tuple[int, int]:
    """Return a queued message and its claim token."""
    number = outbox.one(**values)
    agent = values.get("agent", "gateway")
    [claim] = [one for one in outbox.claim(**{agent: 100}) if one.message_id == number]
    return number, claim.token


SUPPRESSED: list[tuple[dict[str, Any], str, str, bool]] = [
    ({}, "sms", PHONE, True),
    ({"channel": "mms"}, "sms", PHONE, True),
    ({}, "mms", PHONE, True),
    (MAIL, "email", "ann@EXAMPLE.com", True),
    (MAIL, "email", "BOB@example.com", True),
    (MAIL, "email", "carl@example.com", True),
    (MAIL, "email", "Dora <dora@example.com>", True),
    ({"channel": "push", "agent": "api", "recipient": "Token"}, "push", "Token", True),
    # Another address, or another channel:
    ({}, "sms", "+4915112345679", False),
    ({}, "push", PHONE, False),
    ({}, "sms", f"whatsapp:{PHONE}", False),
    (MAIL, "email", "ann@example.org", False),
    (MAIL, "http", "ann@example.com", False),
    ({"channel": "push", "agent": "api", "recipient": "Token"}, "push", "token", False),
]


def test_a_message_whose_recipient_was_suppressed_meanwhile_fails_at_its_start(
    outbox: Outbox,
) -> None:
    for values, channel, address, is_suppressed in SUPPRESSED:
        number, token = queued(outbox, **values)
        entry = suppress(outbox, channel, address)
        if is_suppressed:
            assert outbox.start(number, token) is None
            assert outbox.status(number) == "queued"
        assert outbox.reject_suppressed(number, token) is is_suppressed, (values, address)
        row = outbox.row(number)
        if is_suppressed:
            assert (row.status, row.error_code, row.reason) == ("failed", "suppressed", str(entry))
            assert (row.attempts, row.lease_until) == (0, None)
            assert row.finished_at is not None
            assert outbox.attempts(number) == []
            assert outbox.events(number)[-1] == ("queued", "failed")
        else:
            assert outbox.start(number, token) is not None, (values, address)
        suppression.remove(outbox.connection, entry.id)


def test_recipients_that_were_already_served_do_not_matter(outbox: Outbox) -> None:
    number, token = queued(outbox, **MAIL)
    outbox.execute("UPDATE messages SET remaining = ARRAY['carl@example.com']")
    suppress(outbox, "email", "ann@example.com")
    assert not outbox.reject_suppressed(number, token)
    suppress(outbox, "email", "carl@example.com")
    assert outbox.start(number, token) is None
    assert outbox.reject_suppressed(number, token)


def test_only_the_holder_of_a_claim_can_fail_a_suppressed_message(outbox: Outbox) -> None:
    suppress(outbox, "sms", PHONE)
    for status, lease, offset, holds in HOLDERS:
        number = outbox.at(outbox.one(), status, lease=lease)
        before = outbox.row(number)
        assert outbox.reject_suppressed(number, before.claim_token + offset) is holds
        assert (outbox.row(number) != before) is holds, (status, lease, offset)


def test_a_suppressed_message_fails_at_each_replay_until_the_entry_is_removed(
    outbox: Outbox,
) -> None:
    number, token = queued(outbox)
    entry = suppress(outbox, "sms", PHONE)
    for _ in range(2):
        assert outbox.start(number, token) is None
        assert outbox.reject_suppressed(number, token)
        assert replay(outbox.connection, [number]) == [number]
        [again] = outbox.claim()
        token = again.token
    suppression.remove(outbox.connection, entry.id)
    assert outbox.start(number, token) is not None
