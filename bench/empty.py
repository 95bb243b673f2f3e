"""Celery tasks to compare with: one that does nothing, and one that reports when it runs."""

import redis
from celery import shared_task

from app.settings import settings

DONE_KEY = "bench:done"


@shared_task(name="bench.empty")
def empty() -> None:
    """Do nothing."""


@shared_task(name="bench.done")
def done() -> None:
    """Report that all tasks published before have started."""
    with redis.Redis.from_url(settings().redis_url) as client:
        client.set(DONE_KEY, 1)
