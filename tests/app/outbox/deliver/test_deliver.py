"""Deliver one message: each answer of a provider leads to its status."""

import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app import db
from app.outbox.cancel import cancel
from app.outbox.deliver import CeleryRetry, Deliverer
from app.outbox.outcome import MAX_CELERY_WAIT
from app.outbox.pause import resume_agent
from connectors.base import (
    Accepted,
    Misconfigured,
    Rejected,
    Reply,
    SendError,
    Unavailable,
    Uncertain,
)
from tests.app.outbox.deliver.scripted import MAX_ATTEMPTS, QUEUE_LEASE, SECOND, Scripted, deliver
from tests.app.outbox.driver import Outbox


@pytest.mark.parametrize(
    ("agent", "answer", "status", "result", "attempts", "retry_seconds", "code"),
    [
        ("gateway", Accepted(code="202"), "sent", "accepted", 1, None, None),
        ("gateway", Rejected("550", "no"), "failed", "rejected", 1, None, "550"),
        ("gateway", Unavailable("503"), "retry", "unavailable", 1, 4, "503"),
        ("gateway", Uncertain("timeout"), "retry", "uncertain", 1, 4, "timeout"),
        ("gateway", ZeroDivisionError("defect"), "retry", "uncertain", 1, 4, "defect"),
        ("gateway", Misconfigured("401"), "outbox", "misconfigured", 0, None, "401"),
        ("holding", Uncertain("timeout"), "unknown", "uncertain", 1, None, "timeout"),
        ("holding", ZeroDivisionError("defect"), "unknown", "uncertain", 1, None, "defect"),
        ("holding", Unavailable("503"), "retry", "unavailable", 1, 2, "503"),
        ("holding", Rejected("550"), "failed", "rejected", 1, None, "550"),
    ],
    ids=lambda value: repr(value) if isinstance(value, Exception | Accepted) else str(value),
)
def test_each_answer_of_a_provider_leads_to_its_status(
    outbox: Outbox,
    deliverer: Deliverer,
    scripted: type[Scripted],
    agent: str,
    answer: Any,
    status: str,
    result: str,
    attempts: int,
    retry_seconds: int | None,
    code: str | None,
) -> None:
    scripted.answers = [answer]
    number = outbox.one(agent=agent)
    done = deliver(outbox, deliverer, number, agent)

    row = outbox.row(number)
    assert (row.status, row.attempts, row.error_code) == (status, attempts, code)
    assert done.result == result
    if retry_seconds is None:
        assert done.retry is None
    else:
        assert done.retry.claim_token == row.claim_token
        low, high = (0.8, 1.2) if agent == "holding" else (1, 1)
        assert low * retry_seconds <= done.retry.wait.total_seconds() <= high * retry_seconds
        assert row.lease_until - row.due_at == QUEUE_LEASE
    [attempt] = outbox.attempts(number)
    assert attempt.outcome == result
    assert len(scripted.given) == 1


def test_the_response_of_the_provider_is_stored(
    outbox: Outbox, deliverer: Deliverer, scripted: type[Scripted]
) -> None:
    reply = Reply("thanks")
    refused = {"c@example.com": "550 no"}
    scripted.answers = [Accepted("p-7", "250", "queued", reply=reply, refused=refused)]
    number = outbox.one()
    deliver(outbox, deliverer, number)
    row = outbox.row(number)
    assert (row.provider_message_id, row.refused) == ("p-7", refused)
    assert row.reason == "accepted, but not for c@example.com"
    [attempt] = outbox.attempts(number)
    assert (attempt.code, attempt.detail) == ("250", "queued")
    replies = outbox.execute("SELECT body FROM messages WHERE parent_id = :id", id=number)
    assert replies.scalar_one() == "thanks"


def test_no_connection_is_held_while_the_provider_is_called(
    outbox: Outbox, deliverer: Deliverer, scripted: type[Scripted]
) -> None:
    held = db.engine().pool.checkedout()  # type: ignore[attr-defined]
    seen = []

    def send() -> Accepted:
        seen.append((db.engine().pool.checkedout(), outbox.status(number)))  # type: ignore[attr-defined]
        return Accepted()

    scripted.answers = [send]
    number = outbox.one()
    deliver(outbox, deliverer, number)
    assert seen == [(held, "sending")]


def test_a_message_fails_after_its_last_attempt(
    outbox: Outbox, deliverer: Deliverer, scripted: type[Scripted]
) -> None:
    refused = {"c@example.com": "no"}
    scripted.answers = [Unavailable("503", "busy", refused=refused)] * 9
    number = outbox.one()
    statuses, waits = [], []
    for _ in range(MAX_ATTEMPTS):
        done = deliver(outbox, deliverer, number)
        statuses.append(outbox.status(number))
        waits.append(done.retry and done.retry.wait)
        outbox.execute("UPDATE messages SET lease_until = NULL, due_at = now()")
    assert statuses == ["retry", "retry", "failed"]
    assert waits == [timedelta(seconds=4), None, None], (
        "the second wait, 20 s, is too long for Celery"
    )
    row = outbox.row(number)
    assert row.reason == f"gave up after {MAX_ATTEMPTS} attempts: 503: busy"
    assert row.refused == refused
    assert len(outbox.attempts(number)) == len(scripted.given) == MAX_ATTEMPTS


@pytest.mark.parametrize(
    ("asked", "waits", "is_held"),
    [
        (timedelta(seconds=1), timedelta(seconds=4), True),
        (timedelta(0), timedelta(seconds=4), True),
        (timedelta(seconds=-5), timedelta(seconds=4), True),
        (MAX_CELERY_WAIT, MAX_CELERY_WAIT, True),
        (MAX_CELERY_WAIT + SECOND, MAX_CELERY_WAIT + SECOND, False),
        (timedelta(hours=2), timedelta(hours=2), False),
        (timedelta.max, timedelta(days=1), False),
    ],
)
def test_retry_after_can_lengthen_a_wait_but_not_shorten_it(
    outbox: Outbox,
    deliverer: Deliverer,
    scripted: type[Scripted],
    asked: timedelta,
    waits: timedelta,
    is_held: bool,
) -> None:
    scripted.answers = [Unavailable("429", retry_after=asked)]
    number = outbox.one()
    done = deliver(outbox, deliverer, number)
    row = outbox.row(number)
    assert outbox.seconds_until(number, "due_at") == pytest.approx(waits.total_seconds(), abs=30)
    assert (row.lease_until is not None) == is_held
    assert done.retry == (CeleryRetry(waits, row.claim_token) if is_held else None)


def test_a_retry_is_sent_to_the_remaining_recipients_only(
    outbox: Outbox, deliverer: Deliverer, scripted: type[Scripted]
) -> None:
    scripted.answers = [
        Unavailable("451", remaining=("b", "c"), refused={"d": "no"}),
        Unavailable("connect"),
        Accepted(refused={"c": "no"}),
    ]
    number = outbox.one()
    for _ in range(MAX_ATTEMPTS):
        deliver(outbox, deliverer, number)
        outbox.execute(
            "UPDATE messages SET lease_until = NULL, due_at = now() WHERE status = 'retry'"
        )
    assert [message.remaining for message in scripted.given] == [None, ("b", "c"), ("b", "c")]
    row = outbox.row(number)
    assert (row.status, row.refused) == ("sent", {"c": "no", "d": "no"})


# Misconfigured


def test_a_misconfigured_agent_is_paused_and_keeps_its_messages(
    outbox: Outbox, deliverer: Deliverer, scripted: type[Scripted]
) -> None:
    scripted.answers = [Misconfigured("401", "wrong key")]
    first, second = outbox.store(2)
    claims = {one.message_id: one for one in outbox.claim()}
    deliverer.deliver(claims[first])
    deliverer.deliver(claims[second])
    assert len(scripted.given) == 1, "the pause recalled the second"
    for number in (first, second):
        row = outbox.row(number)
        assert (row.status, row.attempts, row.lease_until) == ("outbox", 0, None)
    state = outbox.execute("SELECT * FROM agent_states").one()
    assert (state.agent, state.paused, state.changed_by) == ("gateway", True, "postroom")
    assert state.reason == "401: wrong key"

    resume_agent(outbox.connection, "gateway", by="ann")
    deliver(outbox, deliverer, first)
    assert outbox.status(first) == "sent"


def test_a_removed_profile_fails_only_its_own_messages(
    outbox: Outbox, deliverer: Deliverer, scripted: type[Scripted]
) -> None:
    for agent in ("gateway", "limited"):
        number = outbox.one(agent=agent, profile="gone")
        deliver(outbox, deliverer, number, agent)
        row = outbox.row(number)
        assert (row.status, row.error_code) == ("failed", "profile")
        assert row.reason == f"profile: agent {agent} has no profile gone"
    assert scripted.given == []
    assert outbox.execute("SELECT count(*) FROM agent_states").scalar_one() == 0


# Repeated tasks


@pytest.mark.parametrize("agent", ["gateway", "limited"])
def test_a_repeated_or_late_task_does_nothing(
    outbox: Outbox, deliverer: Deliverer, scripted: type[Scripted], agent: str
) -> None:
    outbox.one(agent=agent)
    [claim] = outbox.claim(**{agent: 1})
    results = [
        deliverer.deliver(replace(claim, token=claim.token + off)).result for off in (1, -1, 0, 0)
    ]
    assert results == ["stale", "stale", "accepted", "stale"]
    assert len(scripted.given) == 1


def test_only_one_of_two_workers_with_the_same_task_sends(
    outbox: Outbox, deliverer: Deliverer, scripted: type[Scripted]
) -> None:
    sending, go_on = threading.Event(), threading.Event()

    def send() -> Accepted:
        sending.set()
        assert go_on.wait(60)
        return Accepted()

    scripted.answers = [send]
    number = outbox.one()
    [claim] = outbox.claim()
    worker = threading.Thread(target=deliverer.deliver, args=(claim,))
    worker.start()
    assert sending.wait(60)
    assert deliverer.deliver(claim).result == "stale"
    assert cancel(outbox.connection, [number]) == []
    go_on.set()
    worker.join()
    assert outbox.status(number) == "sent"
    assert len(scripted.given) == 1


def test_an_answer_after_the_lease_causes_no_retry(
    outbox: Outbox, deliverer: Deliverer, scripted: type[Scripted]
) -> None:
    def send() -> SendError:
        outbox.at(number, "retry")
        return Unavailable("503")

    scripted.answers = [send]
    number = outbox.one()
    assert deliver(outbox, deliverer, number).retry is None
    assert outbox.attempts(number) == []
