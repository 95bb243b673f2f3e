"""Two tasks to compare with: one that does nothing, and one that says when it was reached."""

import redis
from celery import shared_task

from app.settings import settings

DONE_KEY = "bench:done"


@shared_task(name="bench.empty")
def empty() -> None:
    """Nothing."""


@shared_task(name="bench.done")
def done() -> None:
    """Everything published before has begun."""
    with redis.Redis.from_url(settings().redis_url) as client:
        client.set(DONE_KEY, 1)
