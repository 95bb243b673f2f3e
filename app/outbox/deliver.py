"""Deliver a claimed message: check the rate limit, start, send, settle.

No transaction and no connection to PostgreSQL is held while anyone else is being talked to.
"""

import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

import redis
from sqlalchemy.exc import SQLAlchemyError

from app.agents import Agent, Agents
from app.db import autocommit, describe_error, transaction
from app.limits import RateLimiter
from app.outbox.claim import Claim, release
from app.outbox.isolation import send_isolated
from app.outbox.outcome import MAX_LOSSES, Outcome
from app.outbox.pause import pause_agent
from app.outbox.send import send
from app.outbox.settle import Attempt, settle
from app.outbox.start import Started, find_profile, reject, reject_suppressed, start

log = logging.getLogger(__name__)

LIMITER_OUTAGE_WAIT = timedelta(seconds=5)
SETTLE_RETRY_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class CeleryRetry:
    """The task must run again after `wait`, with the next claim token."""

    wait: timedelta
    claim_token: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """The result of a delivery for the metrics, and the Celery retry that must follow, if any.

    `status` is the new status of the message, or the reason that there is none.
    """

    result: str
    status: str
    duration: timedelta = timedelta(0)
    retry: CeleryRetry | None = None


class Deliverer:
    """Delivers the messages of a worker. `queue_lease` is the time until a published task must
    have started.
    """

    def __init__(self, agents: Agents, limiter: RateLimiter, queue_lease: timedelta) -> None:
        self._agents = agents
        self._limiter = limiter
        self._queue_lease = queue_lease

    def deliver(self, claim: Claim) -> Delivery:
        """Send the message of `claim`, unless the claim is stale."""
        agent = self._agents.by_name[claim.agent]
        if limited := self._check_rate_limit(agent, claim):
            return limited
        with autocommit() as connection:
            started = start(connection, [claim], self._agents.send_lease(agent.name))
            if not started:
                is_suppressed = reject_suppressed(connection, [claim])
                result = "suppressed" if is_suppressed else "stale"
                return Delivery(result, result)
        return self._attempt(agent, started[0])

    def _check_rate_limit(self, agent: Agent, claim: Claim) -> Delivery | None:
        """Return the message to the outbox, or reject it, if its agent is at a rate limit."""
        if not self._agents.is_rate_limited(agent.name):
            return None
        with autocommit() as connection:
            profile = find_profile(connection, claim)
        if profile is None:
            return Delivery("stale", "stale")
        wait = LIMITER_OUTAGE_WAIT
        reason = "deferred: the rate limit cannot be checked while Redis is down"
        is_rejected = False
        with suppress(redis.RedisError):
            capacity = self._limiter.take(self._agents.rate_limits(agent.name, profile))
            if capacity.free:
                return None
            wait, reason = capacity.wait, f"deferred: {agent.name} is at its rate limit"
            is_rejected = agent.over_limit == "reject"
        with autocommit() as connection:
            if is_rejected:
                reject(connection, claim, "rate_limited", f"{agent.name} is at its rate limit")
            else:
                release(connection, [claim], reason, wait)
        return Delivery("limited", "limited")

    def _attempt(self, agent: Agent, started: Started) -> Delivery:
        began = time.monotonic()
        if started.losses >= MAX_LOSSES - 1:
            outcome = send_isolated(self._agents, started)
        else:
            outcome = send(self._agents, started)
        duration = timedelta(seconds=time.monotonic() - began)
        retry_lease = self._queue_lease if outcome.on_celery else None
        is_settled = _settle(started, Attempt(started.claim, outcome, duration, retry_lease))
        status = outcome.status if is_settled else "claim lost"
        log.log(
            logging.INFO if outcome.status == "sent" else logging.WARNING,
            "message %s: %s",
            outcome.result,
            outcome.code or "",  # the reason, which may name recipients, is in its row
            extra={
                "message_id": started.message.id,
                "agent": agent.name,
                "status": status,
                "duration_ms": duration // timedelta(milliseconds=1),
            },
        )
        retry = None
        if is_settled and outcome.on_celery:
            retry = CeleryRetry(outcome.wait, started.claim.token + 1)
        return Delivery(outcome.result, status, duration, retry)


def _settle(started: Started, attempt: Attempt) -> bool:
    """Record an attempt, again and again while PostgreSQL is down, read-only, or reports any other
    error: only this process knows the provider's answer. After the lease another worker may hold
    the message, so it gives up then. Return whether the claim still held.
    """
    give_up_at = time.monotonic() + started.lease.total_seconds()
    while True:
        try:
            if attempt.outcome.result == "misconfigured":
                _pause(started.claim.agent, attempt.outcome)
            with autocommit() as connection:
                return bool(settle(connection, [attempt]))
        except SQLAlchemyError as error:
            if time.monotonic() >= give_up_at:
                raise
            log.warning(
                "cannot record the outcome yet: %s",
                describe_error(error),
                extra={"message_id": started.message.id},
            )
            time.sleep(SETTLE_RETRY_SECONDS)


def _pause(agent: str, outcome: Outcome) -> None:
    """Pause a misconfigured agent before its message is due again."""
    reason = f"{outcome.code}: {outcome.detail}" if outcome.detail else outcome.code
    with transaction() as connection:
        pause_agent(connection, agent, reason=reason, by="postroom")
    log.error("agent %s is paused: %s", agent, reason)
