from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from sqlalchemy import Connection

from app import db
from app.agents import Agents
from app.limits import RateLimiter
from app.outbox.deliver import Deliverer
from connectors.base import registry
from tests.app.outbox.deliver.scripted import FILE, QUEUE_LEASE, Scripted
from tests.app.outbox.driver import Outbox


@pytest.fixture
def scripted(
    monkeypatch: pytest.MonkeyPatch, agents_file: Path, environment: pytest.MonkeyPatch
) -> type[Scripted]:
    agents_file.write_text(FILE)
    monkeypatch.setattr(registry, "load", {"scripted": Scripted}.__getitem__)
    Scripted.answers, Scripted.given = [], []
    return Scripted


@pytest.fixture
def outbox(scripted: type[Scripted], connection: Connection) -> Outbox:
    return Outbox(connection)


@pytest.fixture
def limiter(redis_url: str) -> Iterator[RateLimiter]:
    with redis.Redis.from_url(redis_url) as client:
        yield RateLimiter(client)


@pytest.fixture
def deliverer(outbox: Outbox, limiter: RateLimiter, loaded_agents: Agents) -> Deliverer:
    return Deliverer(loaded_agents, limiter, QUEUE_LEASE)


@pytest.fixture
def connections_in_use(connection: Connection) -> Callable[[], int]:
    """Count the connections to PostgreSQL in use by this process, that of the test included."""
    return lambda: sum(
        engine.pool.checkedout() for engine in (db.engine(), db._autocommit_engine())
    )
