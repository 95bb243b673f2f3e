"""Maintenance: leases that ran out, messages that expired, receipts that came too early, rows
that are old enough to go."""

import logging
from datetime import timedelta

from celery import shared_task

from app.agents import agents
from app.db import transaction
from app.outbox import claim as claims
from app.outbox import control, receipts
from app.settings import settings

log = logging.getLogger(__name__)


@shared_task(name="maintenance")
def maintenance() -> None:
    """One round. Each step is a transaction of its own, and bounded; the next round goes on."""
    sweep()
    with transaction() as connection:
        receipts.match_all(connection)
    with transaction() as connection:
        control.forget_idempotency_keys(connection)
    if settings().retention_days:
        retention = timedelta(days=settings().retention_days)
        with transaction() as connection:
            control.forget(connection, retention)
        with transaction() as connection:
            receipts.forget(connection, retention)


def sweep() -> None:
    """Take back the messages whose holder is lost, and end those whose time ran out."""
    with transaction() as connection:
        expired = control.expire(connection)
        lost = claims.sweep(connection, agents())
    if lost:
        log.warning("%s messages were taken back from tasks or workers that were lost", lost)
    if expired:
        log.info("%s messages expired before they could be sent", expired)
