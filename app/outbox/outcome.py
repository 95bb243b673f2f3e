"""Decide what the outcome of an attempt means for its message."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from app.agents import Agent
from app.models import SuppressionReason
from app.outbox.states import AttemptOutcome, OutboundStatus
from connectors import base

MAX_LOSSES = 3
"""A message is given up once this many workers were lost while they sent it. After one less it is
sent in a process of its own."""

MAX_CELERY_WAIT = timedelta(seconds=10)
"""Longer waits stay in PostgreSQL: a waiting Celery retry is held in a worker's memory, counts
against `max_in_flight`, and must end long before the broker's visibility timeout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of one attempt and the status that it leads to.

    `status` is sent, retry, failed, unknown, or outbox if the attempt does not count. The message
    is due again after `wait`. With `on_celery`, a Celery retry waits for that time, otherwise the
    scan picks the message up. `suppress` is the reason to suppress its recipient.
    """

    status: OutboundStatus
    result: AttemptOutcome
    code: str | None = None
    detail: str | None = None
    reason: str | None = None
    wait: timedelta = timedelta(0)
    on_celery: bool = False
    provider_message_id: str | None = None
    refused: Mapping[str, str] = field(default_factory=dict)
    remaining: tuple[str, ...] | None = None
    reply: base.Reply | None = None
    suppress: SuppressionReason | None = None
    is_polled: bool = False


def accepted(answer: base.Accepted, *, can_poll: bool) -> Outcome:
    """Return the outcome of a send that the provider accepted."""
    refused = {**answer.refused}
    return Outcome(
        status="sent",
        result="accepted",
        code=answer.code,
        detail=answer.detail,
        reason=f"accepted, but not for {', '.join(refused)}" if refused else None,
        provider_message_id=answer.provider_message_id,
        refused=refused,
        reply=answer.reply,
        is_polled=can_poll and answer.provider_message_id is not None,
    )


def failed(error: base.SendError, agent: Agent, attempt: int) -> Outcome:
    """Return the outcome of a send that raised `error` in the given attempt, counted from 1."""
    match error:
        case base.Misconfigured():
            return Outcome(
                status="outbox",
                result="misconfigured",
                code=error.code,
                detail=error.detail,
                reason=f"waiting: {agent.name} is misconfigured",
            )
        case base.Rejected():
            suppress = _suppression_reason(error.suppress)
            return Outcome(
                status="failed",
                result="rejected",
                code=error.code,
                detail=error.detail,
                reason=f"{error}; recipient suppressed"
                if suppress not in {None, "soft_bounce"}
                else str(error),
                suppress=suppress,
            )
        case base.Uncertain() if agent.on_uncertain == "hold":
            return Outcome(
                status="unknown",
                result="uncertain",
                code=error.code,
                detail=error.detail,
                reason=f"may have been sent: {error}",
            )
        case _:
            return _retry(error, agent, attempt)


def worker_lost(agent: Agent) -> Outcome:
    """Return the outcome of a send in a process of its own that died."""
    return Outcome(
        status="unknown" if agent.on_uncertain == "hold" else "failed",
        result="uncertain",
        code="worker_lost",
        detail="worker lost while sending",
        reason=f"gave up after {MAX_LOSSES} workers were lost while sending",
    )


def _retry(error: base.SendError, agent: Agent, attempt: int) -> Outcome:
    unavailable = error if isinstance(error, base.Unavailable) else None
    result: AttemptOutcome = "unavailable" if unavailable else "uncertain"
    refused = unavailable.refused if unavailable else {}
    remaining = unavailable.remaining if unavailable else None
    if attempt >= agent.retry.attempts:
        return Outcome(
            status="failed",
            result=result,
            code=error.code,
            detail=error.detail,
            reason=f"gave up after {attempt} attempts: {error}",
            refused=refused,
            remaining=remaining,
            suppress="soft_bounce" if unavailable and unavailable.is_soft_bounce else None,
        )
    wait = agent.retry.wait(attempt)
    if unavailable and unavailable.retry_after is not None:
        wait = max(wait, min(unavailable.retry_after, base.MAX_RETRY_AFTER))
    return Outcome(
        status="retry",
        result=result,
        code=error.code,
        detail=error.detail,
        reason=str(error),
        wait=wait,
        on_celery=wait <= MAX_CELERY_WAIT,
        refused=refused,
        remaining=remaining,
    )


def _suppression_reason(suppress: base.Suppress) -> SuppressionReason | None:
    if suppress is True:
        return "dead_address"
    return suppress or None
