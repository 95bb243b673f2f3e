"""What came of a try: only who holds the claim changes anything."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from app.agents import Agents
from app.outbox.cancel import cancel
from app.outbox.outcome import Outcome
from app.outbox.replay import replay
from app.outbox.rescue import rescue
from connectors.base import Reply
from tests.app.outbox.driver import SENT, Outbox

WAIT = timedelta(seconds=30)
AGAIN = Outcome(status="retry", result="unavailable", code="503", reason="503: busy", wait=WAIT)
HELD = Outcome(status="retry", result="unavailable", code="503", wait=WAIT, on_celery=True)
FAILED = Outcome(status="failed", result="rejected", code="550", reason="550: no such user")
UNKNOWN = Outcome(status="unknown", result="uncertain", code="timeout", reason="may have been sent")
PUT_BACK = Outcome(status="outbox", result="misconfigured", code="401", reason="waits")


# Settle


@pytest.mark.parametrize(
    ("outcome", "attempts", "claim_after", "is_final", "error_code"),
    [
        (SENT, 1, 1, True, None),
        (FAILED, 1, 1, True, "550"),
        (UNKNOWN, 1, 1, True, "timeout"),
        (AGAIN, 1, 2, False, "503"),
        (HELD, 1, 2, False, "503"),
        (PUT_BACK, 0, 2, False, "401"),
    ],
    ids=lambda value: value.status if isinstance(value, Outcome) else "",
)
def test_the_outcome_is_recorded_with_its_attempt(
    outbox: Outbox,
    outcome: Outcome,
    attempts: int,
    claim_after: int,
    is_final: bool,
    error_code: str | None,
) -> None:
    started, claim = outbox.started()
    number = started.message.id
    assert outbox.settle(started, claim, outcome)

    row = outbox.row(number)
    assert (row.status, row.attempts, row.claim_token) == (outcome.status, attempts, claim_after)
    assert (row.reason, row.error_code) == (outcome.reason, error_code)
    assert (row.finished_at is not None) == is_final
    assert (row.sent_at is not None) == (outcome is SENT)
    assert row.provider_message_id == ("p-1" if outcome is SENT else None)
    assert outbox.events(number)[-1] == ("sending", outcome.status)
    [attempt] = outbox.attempts(number)
    assert (attempt.claim_token, attempt.agent, attempt.outcome) == (
        claim,
        "gateway",
        outcome.result,
    )
    assert (attempt.code, attempt.duration_ms) == (outcome.code, 120)


@pytest.mark.parametrize(
    ("outcome", "due", "lease"), [(AGAIN, 30, None), (HELD, 30, 90), (PUT_BACK, 0, None)]
)
def test_a_retry_is_due_after_its_wait_and_held_for_longer_where_a_task_waits_for_it(
    outbox: Outbox, outcome: Outcome, due: int, lease: int | None
) -> None:
    started, claim = outbox.started()
    outbox.settle(started, claim, outcome)
    number = started.message.id
    assert outbox.seconds_until(number, "due_at") == pytest.approx(due, abs=15)
    assert outbox.seconds_until(number, "lease_until") == (lease and pytest.approx(lease, abs=15))


def test_a_held_retry_starts_with_the_next_claim_once_it_is_due(outbox: Outbox) -> None:
    started, claim = outbox.started()
    number = started.message.id
    outbox.settle(started, claim, HELD)
    assert outbox.start(number, claim) is None
    assert outbox.start(number, claim + 1) is None, "it is not due yet"
    outbox.move(number, due_at="-1 second")
    assert outbox.claim() == [], "the task that waits has it"
    again = outbox.start(number, claim + 1)
    assert again is not None
    assert again.attempt == 2


def test_a_retry_that_nobody_holds_is_found_by_the_scan(outbox: Outbox) -> None:
    started, claim = outbox.started()
    outbox.settle(started, claim, AGAIN)
    assert outbox.start(started.message.id, claim + 1) is None
    outbox.move(started.message.id, due_at="-1 second")
    [again] = outbox.claim()
    assert again.token == claim + 2


@pytest.mark.parametrize("first", [SENT, AGAIN, HELD, FAILED, UNKNOWN, PUT_BACK])
@pytest.mark.parametrize("second", [SENT, AGAIN, FAILED])
def test_to_settle_again_changes_nothing(outbox: Outbox, first: Outcome, second: Outcome) -> None:
    started, claim = outbox.started()
    assert outbox.settle(started, claim, first)
    if first is not SENT and second is SENT:
        return  # an acceptance after all; see below
    before = outbox.row(started.message.id)
    assert not outbox.settle(started, claim, second)
    assert outbox.row(started.message.id) == before
    assert len(outbox.attempts(started.message.id)) == 1


def lose(outbox: Outbox, agents: Agents, number: int) -> None:
    outbox.move(number, lease_until="-1 second")
    assert rescue(outbox.connection, agents) == 1


@pytest.mark.parametrize("outcome", [AGAIN, HELD, FAILED, UNKNOWN, PUT_BACK])
def test_who_comes_after_the_lease_with_no_acceptance_changes_nothing(
    outbox: Outbox, loaded_agents: Agents, outcome: Outcome
) -> None:
    started, claim = outbox.started()
    lose(outbox, loaded_agents, started.message.id)
    before = outbox.row(started.message.id)
    assert not outbox.settle(started, claim, outcome)
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
def test_an_acceptance_that_comes_after_the_lease_is_made_good(
    outbox: Outbox, loaded_agents: Agents, meanwhile: Callable[..., Any], status: str
) -> None:
    started, claim = outbox.started()
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
    assert outbox.settle(started, claim, late)
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
    assert not outbox.settle(started, claim, late), "once is enough"
    assert len(replies(outbox, number)) == 1


@pytest.mark.parametrize("status", ["sent", "delivered", "bounced"])
def test_an_acceptance_that_comes_late_moves_nothing_backward(
    outbox: Outbox, loaded_agents: Agents, status: str
) -> None:
    started, claim = outbox.started()
    lose(outbox, loaded_agents, started.message.id)
    outbox.at(started.message.id, status)
    before = outbox.row(started.message.id)
    assert not outbox.settle(started, claim)
    assert outbox.row(started.message.id) == before


def test_an_acceptance_that_comes_late_leaves_who_sends_it_again_alone(
    outbox: Outbox, loaded_agents: Agents
) -> None:
    started, claim = outbox.started()
    lose(outbox, loaded_agents, started.message.id)
    [again] = outbox.claim()
    second = outbox.start(started.message.id, again.token)
    assert second is not None
    assert not outbox.settle(started, claim)
    assert outbox.status(started.message.id) == "sending"
    assert outbox.settle(second, again.token)


# Several recipients


def test_those_still_to_be_served_are_kept_until_another_try_says_otherwise(
    outbox: Outbox,
) -> None:
    started, claim = outbox.started()
    number = started.message.id
    assert started.message.remaining is None
    tries = [
        (Outcome(status="retry", result="unavailable", remaining=("b", "c")), ("b", "c")),
        # A connection that failed says nothing of recipients: nobody else was served by it.
        (Outcome(status="retry", result="unavailable"), ("b", "c")),
        (Outcome(status="retry", result="uncertain"), ("b", "c")),
        (Outcome(status="outbox", result="misconfigured"), ("b", "c")),
        (Outcome(status="retry", result="unavailable", remaining=("c",)), ("c",)),
    ]
    for outcome, left in tries:
        assert outbox.settle(started, claim, outcome)
        [again] = outbox.claim()
        claim = again.token
        found = outbox.start(number, claim)
        assert found is not None
        started = found
        assert started.message.remaining == left
    assert outbox.settle(started, claim)
    assert outbox.row(number).remaining is None


def test_a_replay_of_what_failed_goes_to_those_who_have_not_got_it(outbox: Outbox) -> None:
    started, claim = outbox.started()
    number = started.message.id
    outbox.settle(started, claim, Outcome(status="retry", result="unavailable", remaining=("b",)))
    [again] = outbox.claim()
    second = outbox.start(number, again.token)
    assert second is not None
    outbox.settle(second, again.token, FAILED)
    replay(outbox.connection, [number])
    [third] = outbox.claim()
    found = outbox.start(number, third.token)
    assert found is not None
    assert found.message.remaining == ("b",)


def test_refusals_of_all_tries_are_kept(outbox: Outbox) -> None:
    started, claim = outbox.started()
    first = Outcome(status="retry", result="unavailable", refused={"a": "no", "b": "full"})
    outbox.settle(started, claim, first)
    [again] = outbox.claim()
    second = outbox.start(started.message.id, again.token)
    assert second is not None
    last = Outcome(status="sent", result="accepted", refused={"b": "gone", "c\u00e9": "no"})
    outbox.settle(second, again.token, last)
    refused = {"a": "no", "b": "gone", "c\u00e9": "no"}
    assert outbox.row(started.message.id).refused == refused


# What providers say


def replies(outbox: Outbox, parent: int) -> list[Any]:
    return list(outbox.execute("SELECT * FROM messages WHERE parent_id = :id", id=parent))


@pytest.mark.parametrize(
    ("sender", "recipient"), [("ACME", "ACME"), (None, "gateway")], ids=["named", "not named"]
)
def test_the_reply_is_kept_as_an_inbound_message(
    outbox: Outbox, sender: str | None, recipient: str
) -> None:
    started, claim = outbox.started(sender=sender, subject="s")
    reply = Reply('{"ok": true}', "application/json", 200)
    outbox.settle(started, claim, Outcome(status="sent", result="accepted", reply=reply))
    message = outbox.row(started.message.id)
    [row] = replies(outbox, message.id)
    assert (row.direction, row.status, row.body) == ("inbound", "received", '{"ok": true}')
    assert (row.channel, row.agent, row.subject) == ("sms", "gateway", "s")
    assert (row.sender, row.recipient) == (message.recipient, recipient)
    assert row.conversation_id == message.conversation_id
    assert outbox.events(row.id) == [(None, "received")]


def test_no_reply_is_kept_of_who_does_not_hold_the_claim(
    outbox: Outbox, loaded_agents: Agents
) -> None:
    started, claim = outbox.started()
    lose(outbox, loaded_agents, started.message.id)
    outcome = Outcome(status="failed", result="rejected", reply=Reply("no"))
    assert not outbox.settle(started, claim, outcome)
    assert replies(outbox, started.message.id) == []


@pytest.mark.parametrize("odd", ["a\0b", "\0", "\ud800", "\udfff\ud800", "a\0\udc80"])
def test_no_text_of_a_provider_can_stop_its_outcome_from_being_recorded(
    outbox: Outbox, odd: str
) -> None:
    started, claim = outbox.started()
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
    assert outbox.settle(started, claim, outcome)
    row = outbox.row(started.message.id)
    kept = "".join("\ufffd" if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in odd)
    assert (row.reason, row.provider_message_id) == (kept, kept)
    assert row.refused == {"a@example.com": kept, kept: "no"}
    [attempt] = outbox.attempts(row.id)
    assert (attempt.code, attempt.detail) == (kept, kept)
    [reply] = replies(outbox, row.id)
    assert reply.body == kept
