"""Carries one message: starts it, fetches its files, has its connector send it, and records what
came of it.

No transaction and no connection to PostgreSQL is held while anybody else is being talked to.
"""

import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

import redis
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app import suppression
from app.agents import Agent, Agents
from app.attachments import resolve as attachments
from app.db import autocommit, transaction
from app.limits import RateLimiter
from app.outbox import control
from app.outbox import settle as delivery
from app.outbox.settle import Outcome, Started
from connectors import base
from connectors.toolkit.http.replies import MAX_RETRY_AFTER

log = logging.getLogger(__name__)

CELERY_RETRY_LIMIT = timedelta(seconds=10)
"""Longer waits stay in PostgreSQL: a Celery retry that waits is held in a worker's memory, fills
a place of its agent's window, and must stay far below the broker's visibility timeout."""

LIMITER_OUTAGE_WAIT = timedelta(seconds=5)
RECORD_AGAIN_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class CeleryRetry:
    """The task is to come back after `wait`, with the next claim."""

    wait: timedelta
    claim: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """What `deliver` did: `result` for the metrics, and the retry that is to be made, if any."""

    result: str
    duration: timedelta
    retry: CeleryRetry | None = None


class Carrier:
    """Delivers messages for a worker; `queue_lease` is how long a published task may take to
    begin."""

    def __init__(self, agents: Agents, limiter: RateLimiter, queue_lease: timedelta) -> None:
        self._agents = agents
        self._limiter = limiter
        self._queue_lease = queue_lease

    def deliver(self, code: str, message_id: int, claim: int) -> Delivery:
        """Send the message through agent `code`, if `claim` still allows it."""
        agent = self._agents.by_name[code]
        if refusal := self._over_limit(agent, message_id, claim):
            return refusal
        with autocommit() as connection:
            started = delivery.start(connection, message_id, claim, self._agents.send_lease(code))
            is_suppressed = started is None and delivery.refuse_suppressed(
                connection, message_id, claim
            )
        if started is None:
            return Delivery("suppressed" if is_suppressed else "stale", timedelta(0))
        begun = time.monotonic()
        outcome = self._send(agent, started)
        duration = timedelta(seconds=time.monotonic() - begun)
        settled = _record(started, claim, outcome, duration)
        log.log(
            logging.INFO if outcome.status == "sent" else logging.WARNING,
            "message %s: %s",
            outcome.result,
            outcome.code or "",  # the reason, which may name recipients, is in its row
            extra={
                "message_id": message_id,
                "agent": code,
                "status": outcome.status if settled else "not ours any more",
                "duration_ms": duration // timedelta(milliseconds=1),
            },
        )
        retry = (
            CeleryRetry(outcome.wait, claim + 1) if settled and outcome.held is not None else None
        )
        return Delivery(outcome.result, duration, retry)

    def _over_limit(self, agent: Agent, message_id: int, claim: int) -> Delivery | None:
        """Put the message back, or fail it, where a rate limit does not let it go now."""
        if not self._agents.is_rate_limited(agent.name):
            return None
        with autocommit() as connection:
            profile = delivery.profile_of(connection, message_id, claim)
        if profile is None:
            return Delivery("stale", timedelta(0))
        wait, reason = LIMITER_OUTAGE_WAIT, "the rate limit cannot be asked: Redis is out of reach"
        rejected = False
        with suppress(redis.RedisError):
            room = self._limiter.take(self._agents.rate_limits(agent.name, profile))
            if room.free:
                return None
            wait, reason = room.wait, f"waits for the rate limit of {agent.name}"
            rejected = agent.over_limit == "reject"
        with autocommit() as connection:
            if rejected:
                reason = f"over the rate limit of {agent.name}"
                delivery.refuse(connection, message_id, claim, "rate_limited", reason)
            else:
                delivery.release(connection, message_id, claim, wait, reason)
        return Delivery("limited", timedelta(0))

    def _send(self, agent: Agent, started: Started) -> Outcome:
        try:
            connector = self._agents.connector(started.agent, started.profile)
        except KeyError:
            gone = base.Rejected("profile", f"agent {agent.name} has no profile {started.profile}")
            return self._after_error(agent, started.tries, gone)
        try:
            message = attachments.resolve(started.message, connector.attachment_sources)
        except base.SendError as error:
            return self._after_error(agent, started.tries, error)
        except Exception:
            log.exception("the attachments failed", extra={"message_id": started.message.id})
            unsent = base.Unavailable("defect", "the attachments failed; see the log of the worker")
            return self._after_error(agent, started.tries, unsent)
        try:
            accepted = connector.send(message)
        except base.SendError as error:
            return self._after_error(agent, started.tries, error)
        except Exception:
            log.exception("the connector failed", extra={"message_id": started.message.id})
            defect = base.Uncertain("defect", "the connector failed; see the log of the worker")
            return self._after_error(agent, started.tries, defect)
        reason = None
        if refused := {**accepted.refused}:
            reason = "accepted, but not for " + ", ".join(refused)
        return Outcome(
            status="sent",
            result="accepted",
            code=accepted.code,
            detail=accepted.detail,
            reason=reason,
            provider_message_id=accepted.provider_message_id,
            refused=refused,
            reply=accepted.reply,
            polled=connector.can_poll and accepted.provider_message_id is not None,
        )

    def _after_error(self, agent: Agent, tries: int, error: base.SendError) -> Outcome:
        match error:
            case base.Misconfigured():
                return Outcome(
                    status="outbox",
                    result="misconfigured",
                    code=error.code,
                    detail=error.detail,
                    reason=f"waits: {agent.name} is misconfigured",
                )
            case base.Rejected():
                reason = str(error)
                if error.suppress:
                    reason += "; its recipient is suppressed from now on"
                return Outcome(
                    status="failed",
                    result="rejected",
                    code=error.code,
                    detail=error.detail,
                    reason=reason,
                    suppress=_suppression_reason(error.suppress),
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
                return self._try_again(agent, tries, error)

    def _try_again(self, agent: Agent, tries: int, error: base.SendError) -> Outcome:
        asked = error if isinstance(error, base.Unavailable) else None
        result = "unavailable" if asked else "uncertain"
        refused = asked.refused if asked else {}
        remaining = asked.remaining if asked else None
        if tries >= agent.retry.attempts:
            return Outcome(
                status="failed",
                result=result,
                code=error.code,
                detail=error.detail,
                reason=f"gave up after {tries} tries: {error}",
                refused=refused,
                remaining=remaining,
            )
        wait = agent.retry.wait(tries)
        if asked and asked.retry_after is not None:
            wait = max(wait, min(asked.retry_after, MAX_RETRY_AFTER))
        return Outcome(
            status="retry",
            result=result,
            code=error.code,
            detail=error.detail,
            reason=str(error),
            wait=wait,
            held=self._queue_lease if wait <= CELERY_RETRY_LIMIT else None,
            refused=refused,
            remaining=remaining,
        )


def _suppression_reason(suppress: base.Suppress) -> suppression.Reason | None:
    if suppress == "opt_out":
        return "opt_out"
    return "dead_address" if suppress else None


def _record(started: Started, claim: int, outcome: Outcome, duration: timedelta) -> bool:
    """Settle, again and again while PostgreSQL is out of reach: the provider's answer is known
    only here. After its lease somebody else may hold the message, so it ends there."""
    give_up_at = time.monotonic() + started.lease.total_seconds()
    while True:
        try:
            if outcome.result == "misconfigured":
                _pause(started.agent, outcome)
            with autocommit() as connection:
                return delivery.settle(connection, started, claim, outcome, duration)
        except (OperationalError, InterfaceError, PoolTimeoutError):
            if time.monotonic() >= give_up_at:
                raise
            log.warning(
                "cannot record the outcome yet: PostgreSQL is out of reach",
                extra={"message_id": started.message.id},
            )
            time.sleep(RECORD_AGAIN_SECONDS)


def _pause(agent: str, outcome: Outcome) -> None:
    """Pause before the message is put back, or it would be due again at once."""
    reason = f"{outcome.code}: {outcome.detail}" if outcome.detail else outcome.code
    with transaction() as connection:
        control.pause_agent(connection, agent, reason=reason, by="postroom")
    log.error("agent %s is paused: %s", agent, reason)
