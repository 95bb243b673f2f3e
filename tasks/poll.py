"""The task that polls the provider of an agent; see `app.inbound.polling`."""

import logging

from celery import shared_task

from app.agents import agents
from app.inbound import polling

log = logging.getLogger(__name__)


@shared_task(name="poll")
def poll(agent: str) -> None:
    """Poll the provider of an agent, unless a previous round is still running."""
    if new := polling.poll(agents(), agent):
        log.info("agent %s: polling found %s new receipts", agent, new)
