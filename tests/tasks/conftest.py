"""Celery against a real Redis, whose queues the tests read."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import redis


@dataclass(frozen=True)
class Queues:
    """The queues in the broker."""

    client: "redis.Redis"

    def raw(self, agent: str) -> list[bytes]:
        """Return the raw tasks in the queue of an agent, oldest first."""
        return self.client.lrange(f"postroom:deliver.{agent}", 0, -1)[::-1]

    def arguments(self, agent: str) -> list[list[Any]]:
        """Return the arguments of the tasks in the queue of an agent, oldest first."""
        bodies = [base64.b64decode(json.loads(raw)["body"]) for raw in self.raw(agent)]
        return [json.loads(body)[0] for body in bodies]


@pytest.fixture
def queues(database: str, redis_url: str) -> Iterator[Queues]:
    """The queues of an empty broker that `tasks` publishes to."""
    import tasks  # reads agents and settings, which the test has set by now
    from app.limits import limiter

    tasks.prepare_worker()
    tasks.celery.conf.broker_url = redis_url
    limiter.cache_clear()
    with redis.Redis.from_url(redis_url) as client:
        yield Queues(client)
    limiter.cache_clear()
