"""One round of collecting what lies ready at an agent's provider; see `app.inbound.mailboxes`."""

import logging

from celery import shared_task

from app.agents import agents
from app.inbound import mailboxes as collecting

log = logging.getLogger(__name__)


@shared_task(name="collect")
def collect(agent: str) -> None:
    """Read the mailboxes of an agent, unless the last round still does."""
    if new := collecting.collect(agents(), agent):
        log.info("agent %s collected %s new receipts and messages", agent, new)
