"""One Celery task for each agent, made from `agents.toml`: Flower shows agents, and each has its
own queue and `rate_limit`."""

from datetime import timedelta
from functools import cache
from typing import Any

from celery import Task, shared_task

from app.agents import Agent, agents
from app.limits import limiter
from app.outbox.deliver import Carrier
from app.settings import settings
from tasks import metrics


@cache
def carrier() -> Carrier:
    """What carries the messages of this worker."""
    return Carrier(agents(), limiter(), timedelta(seconds=settings().queue_lease_seconds))


def make_task(agent: Agent) -> Task:
    """The task that sends one message through `agent`."""

    @shared_task(
        name=agent.queue,
        rate_limit=agent.worker_rate_limit,
        bind=True,
        max_retries=None,  # how often a message is tried is written in its row
    )
    def deliver(self: Any, message_id: int, claim: int) -> None:
        delivery = carrier().deliver(agent.name, message_id, claim)
        metrics.observe(agent.name, delivery)
        if retry := delivery.retry:
            raise self.retry(args=(message_id, retry.claim), countdown=retry.wait.total_seconds())

    return deliver


TASKS = {agent.name: make_task(agent) for agent in agents().by_name.values()}
