"""Tasks that read the mailboxes of agents; see `app.inbound.mailboxes`."""

import logging

from celery import shared_task

from app.agents import agents
from app.inbound import mailboxes
from app.settings import settings

log = logging.getLogger(__name__)


@shared_task(name="mailboxes")
def read_all_mailboxes() -> None:
    """Start a task for each agent that has mailboxes, so that none waits for another."""
    for agent in mailboxes.mailbox_agents(agents()):
        read_mailboxes.apply_async((agent,), expires=settings().mailbox_seconds)


@shared_task(name="read_mailboxes")
def read_mailboxes(agent: str) -> None:
    """Read the mailboxes of an agent, unless a previous round is still running."""
    if new := mailboxes.read_mailboxes(agents(), agent):
        log.info("agent %s: %s e-mails read from its mailboxes", agent, new)
