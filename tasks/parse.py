"""The task that parses stored webhooks and e-mails; see `app.inbound.parse`."""

import logging

from celery import shared_task

from app.agents import agents
from app.db import autocommit
from app.inbound import parse, unparsed

log = logging.getLogger(__name__)


@shared_task(name="parse")
def parse_inbound() -> None:
    """Parse everything that is due, unless enough workers do."""
    with autocommit() as connection:
        if not unparsed.is_due(connection):
            return
    if count := parse.parse_all(agents()):
        log.info("%s stored webhooks and e-mails parsed", count)
