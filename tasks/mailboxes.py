"""The task that reads the mailboxes of an agent; see `app.inbound.mailboxes`."""

import logging

from celery import shared_task

from app.agents import agents
from app.inbound import mailboxes

log = logging.getLogger(__name__)


@shared_task(name="mailboxes")
def read_mailboxes(agent: str) -> None:
    """Read the mailboxes of an agent, unless a previous round is still running."""
    if new := mailboxes.read_mailboxes(agents(), agent):
        log.info("agent %s: %s new receipts and messages in its mailboxes", agent, new)
