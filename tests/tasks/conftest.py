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

    def raw(self, queue: str) -> list[bytes]:
        """Return the raw tasks in a queue, oldest first."""
        return self.client.lrange(f"postroom:{queue}", 0, -1)[::-1]

    def tasks(self, queue: str) -> list[tuple[str, list[Any]]]:
        """Return the names and arguments of the tasks in a queue, oldest first."""
        messages = map(json.loads, self.raw(queue))
        return [
            (message["headers"]["task"], json.loads(base64.b64decode(message["body"]))[0])
            for message in messages
        ]

    def arguments(self, agent: str) -> list[list[Any]]:
        """Return the arguments of the tasks in the queue of an agent, oldest first."""
        return [arguments for _, arguments in self.tasks(f"deliver.{agent}")]


@pytest.fixture
def queues(database: str, redis_url: str) -> Iterator[Queues]:
    """The queues of an empty broker that `tasks` publishes to."""
    import tasks  # reads agents and settings, which the test has set by now
    from app.limits import limiter

    tasks.celery.loader.init_worker()
    tasks.prepare_worker()
    tasks.celery.conf.broker_url = redis_url
    limiter.cache_clear()
    with redis.Redis.from_url(redis_url) as client:
        yield Queues(client)
    limiter.cache_clear()
