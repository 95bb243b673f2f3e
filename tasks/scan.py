"""The scan: due messages become tasks, each in the queue of its agent."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import redis
from celery import current_app, shared_task
from kombu.exceptions import KombuError

from app.agents import agents
from app.db import transaction
from app.limits import limiter
from app.outbox import claim as claims
from app.outbox import store as accept
from app.outbox.claim import Claim
from app.settings import settings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Scan:
    """What a scan did: how many messages it queued, and how long until another one is due.

    `next_due` is zero or less where some wait for room, None where none waits.
    """

    queued: int
    next_due: timedelta | None


@shared_task(name="scan")
def scan_by_the_clock() -> None:
    """The scan that beat asks for: whatever the bell missed is found here."""
    scan()


def scan() -> Scan | None:
    """Queue what is due and publish its tasks. None where another process is at it already.

    Raises redis.RedisError where the broker is out of reach: nothing was claimed then.
    """
    limiter().ping()
    with transaction() as connection:
        if not claims.try_lock(connection):
            return None
        state = claims.begin_scan(connection)
        if not state.running:
            return Scan(0, None)
        if state.unadopted:
            accept.adopt(connection, agents())
        sending = [code for code in agents().by_name if code not in state.paused]
        lease = timedelta(seconds=settings().queue_lease_seconds)
        rooms = {code: room for code in sending if (room := _room(code, state.held)) > 0}
        claimed = claims.claim(connection, rooms, lease) if rooms else []
        next_due = claims.next_due(connection, sending)
    if claimed:
        _publish(claimed)
    return Scan(len(claimed), next_due)


def _room(code: str, held: Mapping[str, int]) -> int:
    """How many more messages of an agent may be in flight, by its window and its rate limits."""
    agent = agents().by_name[code]
    capacity = agent.max_in_flight - held.get(code, 0)
    if capacity <= 0 or not agent.rate_limits or agent.over_limit == "reject":
        return capacity
    return limiter().peek({code: agent.rate_limits}, capacity).free


def _publish(claimed: Sequence[Claim]) -> None:
    """One task for each claim, all in one round trip.

    They have no expiry of Celery's, which would go by the clock of the worker: a task that comes
    too late is turned away by its claim.
    """
    try:
        with (
            current_app.producer_pool.acquire(block=True) as producer,
            producer.batch(max_size=500),
        ):
            for claim in claimed:
                task = current_app.tasks[agents().by_name[claim.agent].queue]
                task.apply_async((claim.message_id, claim.number), producer=producer)
    except (KombuError, redis.RedisError, OSError):
        log.warning("the broker did not take %s tasks; their messages stay due", len(claimed))
        with transaction() as connection:
            claims.give_back(connection, claimed)
        raise
