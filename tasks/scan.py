"""The scan: turn due messages into tasks, each in the queue of its agent."""

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
from app.outbox.claim import Claim, begin_scan, claim, next_due, release, try_lock
from app.outbox.route import route
from app.settings import settings

log = logging.getLogger(__name__)

PUBLISH_BATCH = 500


@dataclass(frozen=True, slots=True)
class Scan:
    """The result of a scan: how many messages it queued, and the time until the next is due.

    `next_due` is zero if messages wait for capacity, None if no message waits.
    """

    queued: int
    next_due: timedelta | None


@shared_task(name="scan")
def scan_periodically() -> None:
    """Scan on the beat schedule, for messages whose notification was lost."""
    scan()


def scan() -> Scan | None:
    """Queue due messages and publish their tasks. Return None if another process is scanning.

    Raises:
        redis.RedisError: The broker is out of reach; nothing was claimed.
    """
    limiter().ping()
    with transaction() as connection:
        if not try_lock(connection):
            return None
        state = begin_scan(connection)
        if not state.running:
            return Scan(0, None)
        if state.has_unrouted:
            route(connection, agents())
        active = [name for name in agents().by_name if name not in state.paused_agents]
        capacities = {
            name: capacity for name in active if (capacity := _capacity(name, state.in_flight)) > 0
        }
        lease = timedelta(seconds=settings().queue_lease_seconds)
        claims = claim(connection, capacities, lease) if capacities else []
        until_next = next_due(connection, active)
    if claims:
        _publish(claims)
    return Scan(len(claims), until_next)


def _capacity(name: str, in_flight: Mapping[str, int]) -> int:
    """Return how many more messages of an agent may be in flight."""
    agent = agents().by_name[name]
    capacity = agent.max_in_flight - in_flight.get(name, 0)
    if capacity <= 0 or not agent.rate_limits or agent.over_limit == "reject":
        return capacity
    return limiter().peek({name: agent.rate_limits}, capacity).free


def _publish(claims: Sequence[Claim]) -> None:
    """Publish one task for each claim, in one round trip.

    Tasks carry no Celery expiry, which depends on the clock of the worker: a task that arrives
    too late has a stale claim.
    """
    try:
        with (
            current_app.producer_pool.acquire(block=True) as producer,
            producer.batch(max_size=PUBLISH_BATCH),
        ):
            for one in claims:
                task = current_app.tasks[agents().by_name[one.agent].queue]
                task.apply_async((one.message_id, one.token), producer=producer)
    except (KombuError, redis.RedisError, OSError):
        log.warning("%s tasks could not be published; their messages stay due", len(claims))
        with transaction() as connection:
            release(connection, claims, "task could not be published: Redis is out of reach")
        raise
