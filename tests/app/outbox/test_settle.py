"""Settle attempts: only the holder of the current claim changes anything."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app import suppression
from app.agents import Agents
from app.outbox.cancel import cancel
from app.outbox.outcome import Outcome
from app.outbox.replay import replay
from app.outbox.rescue import rescue
from app.outbox.settle import Attempt, settle
from connectors.base import Reply
from tests.app.outbox.driver import DURATION, SENT, Outbox

WAIT = timedelta(seconds=30)
RETRY = Outcome(status="retry", result="unavailable", code="503", reason="503: busy", wait=WAIT)
CELERY_RETRY = Outcome(status="retry", result="unavailable", code="503", wait=WAIT, on_celery=True)
DEAD = Outcome(
    status="failed", result="rejected", code="5.1.1", reason="no such user", suppress="dead_address"
)
FAILED = Outcome(status="failed", result="rejected", code="550", reason="550: no such user")
UNKNOWN = Outcome(status="unknown", result="uncertain", code="timeout", reason="may have been sent")
NOT_COUNTED = Outcome(status="outbox", result="misconfigured", code="401", reason="waiting")


def test_an_outcome_is_recorded_with_its_attempt(outbox: Outbox) -> None:
    table = [
        (SENT, 1, 1, True, None),
        (FAILED, 1, 1, True, "550"),
        (UNKNOWN, 1, 1, True, "timeout"),
        (RETRY, 1, 2, False, "503"),
        (CELERY_RETRY, 1, 2, False, "503"),
        (NOT_COUNTED, 0, 2, False, "401"),
    ]
    for outcome, attempts, token_after, is_final, error_code in table:
        started, token = outbox.started()
        number = started.message.id
        assert outbox.settle(started, token, outcome)

        row = outbox.row(number)
        assert (row.status, row.attempts, row.claim_token) == (
            outcome.status,
            attempts,
            token_after,
        )
        assert (row.reason, row.error_code) == (outcome.reason, error_code)
        assert (row.finished_at is not None) == is_final
        assert (row.sent_at is not None) == (outcome is SENT)
        assert row.provider_message_id == ("p-1" if outcome is SENT else None)
        assert outbox.events(number)[-1] == ("sending", outcome.status)
        [attempt] = outbox.attempts(number)
        assert (attempt.claim_token, attempt.agent) == (token, "gateway")
        assert (attempt.outcome, attempt.code) == (outcome.result, outcome.code)
        assert attempt.duration_ms == 120


def test_many_attempts_are_settled_in_one_statement_each_by_its_own_claim(
    outbox: Outbox, loaded_agents: Agents
) -> None:
    outcomes = [SENT, FAILED, RETRY, SENT, SENT]
    started = [outbox.started()[0] for _ in outcomes]
    lose(outbox, loaded_agents, started[4].message.id)
    outbox.claim()
    attempts = [
        Attempt(one.claim, outcome, DURATION)
        for one, outcome in zip(started, outcomes, strict=True)
    ]
    stale = replace(attempts[3], claim=replace(attempts[3].claim, token=99))
    numbers = [one.message.id for one in started]
    settled = settle(outbox.connection, [*attempts[:3], stale, attempts[4]])
    assert settled == {*numbers[:3], numbers[4]}
    assert [outbox.status(number) for number in numbers] == [
        "sent",
        "failed",
        "retry",
        "sending",
        "sent",
    ]
    assert outbox.row(numbers[4]).reason == "accepted, but reported after its lease"


def test_a_retry_is_due_after_its_wait_and_leased_while_celery_holds_it(outbox: Outbox) -> None:
    for outcome, due, lease in ((RETRY, 30, None), (CELERY_RETRY, 30, 90), (NOT_COUNTED, 0, None)):
        started, token = outbox.started()
        outbox.settle(started, token, outcome)
        number = started.message.id
        assert outbox.seconds_until(number, "due_at") == pytest.approx(due, abs=15)
        assert outbox.seconds_until(number, "lease_until") == (
            lease and pytest.approx(lease, abs=15)
        )


def test_a_celery_retry_starts_with_the_next_token_once_it_is_due(outbox: Outbox) -> None:
    started, token = outbox.started()
    number = started.message.id
    outbox.settle(started, token, CELERY_RETRY)
    assert outbox.start(number, token) is None
    assert outbox.start(number, token + 1) is None, "it is not due yet"
    outbox.move(number, due_at="-1 second")
    assert outbox.claim() == [], "Celery holds it"
    again = outbox.start(number, token + 1)
    assert again is not None
    assert again.attempt == 2


def test_a_retry_without_celery_is_claimed_by_the_scan(outbox: Outbox) -> None:
    started, token = outbox.started()
    outbox.settle(started, token, RETRY)
    assert outbox.start(started.message.id, token + 1) is None
    outbox.move(started.message.id, due_at="-1 second")
    [again] = outbox.claim()
    assert again.token == token + 2


def test_settling_again_changes_nothing(outbox: Outbox) -> None:
    for first in (SENT, RETRY, CELERY_RETRY, FAILED, UNKNOWN, NOT_COUNTED):
        for second in (SENT, RETRY, FAILED):
            if second is SENT and first is not SENT:
                continue  # a late acceptance; see below
            started, token = outbox.started()
            assert outbox.settle(started, token, first)
            before = outbox.row(started.message.id)
            assert not outbox.settle(started, token, second), (first, second)
            assert outbox.row(started.message.id) == before
            assert len(outbox.attempts(started.message.id)) == 1


def lose(outbox: Outbox, agents: Agents, number: int) -> None:
    outbox.move(number, lease_until="-1 second")
    assert rescue(outbox.connection, agents) == 1


def test_an_outcome_other_than_accepted_is_ignored_after_the_lease(
    outbox: Outbox, loaded_agents: Agents
) -> None:
    for outcome in (RETRY, CELERY_RETRY, FAILED, UNKNOWN, NOT_COUNTED):
        started, token = outbox.started()
        lose(outbox, loaded_agents, started.message.id)
        before = outbox.row(started.message.id)
        assert not outbox.settle(started, token, outcome)
        assert outbox.row(started.message.id) == before


@pytest.mark.parametrize(
    ("meanwhile", "status"),
    [
        (lambda *_: None, "retry"),
        (lambda outbox, number: outbox.claim(), "queued"),
        (lambda outbox, number: outbox.at(number, "unknown"), "unknown"),
        (lambda outbox, number: outbox.at(number, "failed"), "failed"),
        (lambda outbox, number: cancel(outbox.connection, [number]), "cancelled"),
        (lambda outbox, number: outbox.at(number, "expired"), "expired"),
        (
            lambda outbox, number: (
                outbox.at(number, "failed"),
                replay(outbox.connection, [number]),
            ),
            "outbox",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_acceptance_after_the_lease_makes_the_message_sent(
    outbox: Outbox, loaded_agents: Agents, meanwhile: Callable[..., Any], status: str
) -> None:
    started, token = outbox.started()
    number = started.message.id
    lose(outbox, loaded_agents, number)
    meanwhile(outbox, number)
    assert outbox.status(number) == status

    late = Outcome(
        status="sent",
        result="accepted",
        provider_message_id="p-late",
        refused={"x@example.com": "no"},
        reply=Reply("taken"),
    )
    assert outbox.settle(started, token, late)
    row = outbox.row(number)
    assert (row.status, row.lease_until, row.error_code) == ("sent", None, None)
    assert (row.provider_message_id, row.refused) == ("p-late", {"x@example.com": "no"})
    assert row.sent_at is not None
    assert row.finished_at is not None
    assert [found.outcome for found in outbox.attempts(number)] == ["uncertain", "accepted"]
    assert len(replies(outbox, number)) == 1

    outbox.move(number, due_at="-1 second")
    assert outbox.claim() == []
    assert outbox.start(number, row.claim_token) is None
    assert not outbox.settle(started, token, late)
    assert len(replies(outbox, number)) == 1


def test_a_late_acceptance_moves_no_message_backward(outbox: Outbox, loaded_agents: Agents) -> None:
    for status in ("sent", "delivered", "bounced"):
        started, token = outbox.started()
        lose(outbox, loaded_agents, started.message.id)
        outbox.at(started.message.id, status)
        before = outbox.row(started.message.id)
        assert not outbox.settle(started, token)
        assert outbox.row(started.message.id) == before


def test_a_late_acceptance_does_not_disturb_a_later_attempt_in_progress(
    outbox: Outbox, loaded_agents: Agents
) -> None:
    started, token = outbox.started()
    lose(outbox, loaded_agents, started.message.id)
    [again] = outbox.claim()
    second = outbox.start(started.message.id, again.token)
    assert second is not None
    assert not outbox.settle(started, token)
    assert outbox.status(started.message.id) == "sending"
    assert outbox.settle(second, again.token)


# Several recipients


def test_remaining_recipients_are_stored_until_another_attempt_replaces_them(
    outbox: Outbox,
) -> None:
    started, token = outbox.started()
    number = started.message.id
    assert started.message.remaining is None
    attempts = [
        (Outcome(status="retry", result="unavailable", remaining=("b", "c")), ("b", "c")),
        # A failed connection served no further recipient.
        (Outcome(status="retry", result="unavailable"), ("b", "c")),
        (Outcome(status="retry", result="uncertain"), ("b", "c")),
        (Outcome(status="outbox", result="misconfigured"), ("b", "c")),
        (Outcome(status="retry", result="unavailable", remaining=("c",)), ("c",)),
    ]
    for outcome, left in attempts:
        assert outbox.settle(started, token, outcome)
        [again] = outbox.claim()
        token = again.token
        found = outbox.start(number, token)
        assert found is not None
        started = found
        assert started.message.remaining == left
    assert outbox.settle(started, token)
    assert outbox.row(number).remaining is None


def test_a_replay_is_sent_to_the_remaining_recipients_only(outbox: Outbox) -> None:
    started, token = outbox.started()
    number = started.message.id
    outbox.settle(started, token, Outcome(status="retry", result="unavailable", remaining=("b",)))
    [again] = outbox.claim()
    second = outbox.start(number, again.token)
    assert second is not None
    outbox.settle(second, again.token, FAILED)
    replay(outbox.connection, [number])
    [third] = outbox.claim()
    found = outbox.start(number, third.token)
    assert found is not None
    assert found.message.remaining == ("b",)


def test_refused_recipients_of_all_attempts_are_stored(outbox: Outbox) -> None:
    started, token = outbox.started()
    first = Outcome(status="retry", result="unavailable", refused={"a": "no", "b": "full"})
    outbox.settle(started, token, first)
    [again] = outbox.claim()
    second = outbox.start(started.message.id, again.token)
    assert second is not None
    last = Outcome(status="sent", result="accepted", refused={"b": "gone", "c\u00e9": "no"})
    outbox.settle(second, again.token, last)
    refused = {"a": "no", "b": "gone", "c\u00e9": "no"}
    assert outbox.row(started.message.id).refused == refused


# Provider responses


def replies(outbox: Outbox, parent: int) -> list[Any]:
    return list(outbox.execute("SELECT * FROM messages WHERE parent_id = :id", id=parent))


def test_the_reply_of_a_provider_is_stored_as_an_inbound_message(outbox: Outbox) -> None:
    for sender, recipient in (("ACME", "ACME"), (None, "gateway")):
        started, token = outbox.started(sender=sender, subject="s")
        reply = Reply('{"ok": true}', "application/json", 200)
        outbox.settle(started, token, Outcome(status="sent", result="accepted", reply=reply))
        message = outbox.row(started.message.id)
        [row] = replies(outbox, message.id)
        assert (row.direction, row.status, row.body) == ("inbound", "received", '{"ok": true}')
        assert (row.channel, row.agent, row.subject) == ("sms", "gateway", "s")
        assert (row.sender, row.recipient) == (message.recipient, recipient)
        assert row.conversation_id == message.conversation_id
        assert outbox.events(row.id) == [(None, "received")]


def test_no_reply_is_stored_under_a_stale_claim(outbox: Outbox, loaded_agents: Agents) -> None:
    started, token = outbox.started()
    lose(outbox, loaded_agents, started.message.id)
    outcome = Outcome(status="failed", result="rejected", reply=Reply("no"))
    assert not outbox.settle(started, token, outcome)
    assert replies(outbox, started.message.id) == []


def test_text_that_postgresql_cannot_store_does_not_stop_a_settlement(outbox: Outbox) -> None:
    for odd in ("a\0b", "\0", "\ud800", "\udfff\ud800", "a\0\udc80"):
        started, token = outbox.started()
        outcome = Outcome(
            status="sent",
            result="accepted",
            code=odd,
            detail=odd,
            reason=odd,
            provider_message_id=odd,
            refused={"a@example.com": odd, odd: "no"},
            reply=Reply(odd),
        )
        assert outbox.settle(started, token, outcome)
        row = outbox.row(started.message.id)
        stored = re.sub("[\0\ud800-\udfff]", "\ufffd", odd)
        assert (row.reason, row.provider_message_id) == (stored, stored)
        assert row.refused == {"a@example.com": stored, stored: "no"}
        [attempt] = outbox.attempts(row.id)
        assert (attempt.code, attempt.detail) == (stored, stored)
        [reply] = replies(outbox, row.id)
        assert reply.body == stored


# Suppression


def test_a_dead_recipient_is_suppressed_with_its_attempt(outbox: Outbox) -> None:
    table: list[tuple[dict[str, Any], suppression.Key]] = [
        ({}, ("phone", "+4915112345678")),
        ({"channel": "mms", "recipient": "+4915112345679"}, ("phone", "+4915112345679")),
        (
            {"channel": "email", "recipient": "Ann <Ann@example.com>", "cc": ["bob@example.com"]},
            ("email", "ann@example.com"),
        ),
    ]
    for values, key in table:
        started, token = outbox.started(**values)
        assert outbox.settle(started, token, DEAD)
        [entry] = suppression.find(outbox.connection, {key, ("email", "bob@example.com")}).values()
        assert (entry.channel_family, entry.address) == key
        assert (entry.reason, entry.detail) == ("dead_address", "5.1.1")
        assert (entry.agent, entry.message_id) == ("gateway", started.message.id)
        assert entry.created_by == "postroom"
        row = outbox.row(started.message.id)
        assert (row.status, row.error_code) == ("failed", "5.1.1")


def test_an_existing_suppression_is_not_replaced(outbox: Outbox) -> None:
    started, token = outbox.started()
    key = ("phone", started.message.recipient)
    entry, _ = suppression.add(outbox.connection, key, reason="dead_address", by="ann")
    assert outbox.settle(started, token, DEAD)
    assert [*suppression.find(outbox.connection, {key}).values()] == [entry]
    assert outbox.status(started.message.id) == "failed"


def test_a_stale_claim_suppresses_no_address(outbox: Outbox) -> None:
    started, token = outbox.started()
    assert not outbox.settle(started, token + 1, DEAD)
    key = ("phone", started.message.recipient)
    assert suppression.find(outbox.connection, {key}) == {}


def test_a_suppression_outlives_its_message(outbox: Outbox) -> None:
    started, token = outbox.started()
    outbox.settle(started, token, DEAD)
    outbox.execute("DELETE FROM messages")
    key = ("phone", started.message.recipient)
    [entry] = suppression.find(outbox.connection, {key}).values()
    assert entry.message_id is None
