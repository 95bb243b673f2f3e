"""Maintenance: rescue, expire, match early receipts, purge."""

import logging
from datetime import timedelta

from celery import shared_task

from app import soft_bounces, suppression
from app.agents import agents
from app.db import transaction
from app.inbound import unparsed
from app.outbox.expire import expire
from app.outbox.purge import purge_idempotency_keys, purge_messages, purge_receipts
from app.outbox.receipts import match_all
from app.outbox.rescue import rescue
from app.settings import settings

log = logging.getLogger(__name__)


@shared_task(name="maintenance")
def maintenance() -> None:
    """Run one round. Each step is a bounded transaction; the next round continues."""
    rescue_and_expire()
    with transaction() as connection:
        match_all(connection)
    with transaction() as connection:
        purge_idempotency_keys(connection)
    with transaction() as connection:
        suppression.purge(connection)
        soft_bounces.purge(connection)
    if settings().retention_days:
        retention = timedelta(days=settings().retention_days)
        with transaction() as connection:
            purge_messages(connection, retention)
        with transaction() as connection:
            purge_receipts(connection, retention)
        with transaction() as connection:
            unparsed.purge(connection, retention)


def rescue_and_expire() -> None:
    """Rescue messages whose lease has expired and expire those past their `expires_at`."""
    with transaction() as connection:
        expired = expire(connection)
        rescued = rescue(connection, agents())
    if rescued:
        log.warning("rescued %s messages whose task or worker was lost", rescued)
    if expired:
        log.info("%s messages expired before they could be sent", expired)
