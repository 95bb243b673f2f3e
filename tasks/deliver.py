"""One Celery task for each agent, so that each has its own queue and `worker_rate_limit`."""

from datetime import timedelta
from functools import cache
from typing import Any

from celery import Task, shared_task

from app.agents import Agent, agents
from app.limits import limiter
from app.outbox.claim import Claim
from app.outbox.deliver import Deliverer
from app.settings import settings
from tasks import metrics


@cache
def deliverer() -> Deliverer:
    """Return the deliverer of this worker."""
    return Deliverer(agents(), limiter(), timedelta(seconds=settings().queue_lease_seconds))


def make_task(agent: Agent) -> Task:
    """Return the task that sends one message through `agent`."""

    @shared_task(
        name=agent.queue,
        rate_limit=agent.worker_rate_limit,
        bind=True,
        max_retries=None,  # the attempts of a message are counted in its row
    )
    def deliver(self: Any, message_id: int, claim_token: int) -> str:
        delivery = deliverer().deliver(Claim(message_id, agent.name, claim_token))
        metrics.observe(agent.name, delivery)
        if retry := delivery.retry:
            raise self.retry(
                args=(message_id, retry.claim_token), countdown=retry.wait.total_seconds()
            )
        return delivery.status  # for the events that Flower shows

    return deliver


TASKS = {agent.name: make_task(agent) for agent in agents().by_name.values()}
