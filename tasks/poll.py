"""Tasks that poll providers for receipts; see `app.inbound.polling`."""

import logging

from celery import shared_task

from app.agents import agents
from app.inbound import polling
from app.settings import settings

log = logging.getLogger(__name__)


@shared_task(name="poll")
def poll() -> None:
    """Start a task for each agent whose provider is polled, so that none waits for another."""
    for agent in polling.polled_agents(agents()):
        poll_agent.apply_async((agent,), expires=settings().poll_seconds)


@shared_task(name="poll_agent")
def poll_agent(agent: str) -> None:
    """Poll the provider of an agent, unless a previous round is still running."""
    if new := polling.poll(agents(), agent):
        log.info("agent %s: polling found %s new receipts", agent, new)
