"""The scan: due messages in PostgreSQL become tasks in Redis."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import redis
from kombu.exceptions import KombuError
from sqlalchemy import Connection, text

from app import db
from app.agents import agents
from app.outbox import claim as claims
from app.outbox.pause import pause_agent, pause_scheduler, resume_agent, resume_scheduler
from app.outbox.store import store
from app.submission.submission import Submission
from tests.servers import free_port

SECRET = "secret-content"


@pytest.fixture
def scan(queues: Any) -> Any:
    from tasks.scan import scan

    return scan


def put(count: int = 1, **fields: Any) -> list[int]:
    submission = Submission(
        **{"channel": "sms", "agent": "gateway", "recipient": "+12025550100", "body": SECRET}
        | fields
    )
    with db.transaction() as connection:
        return [stored.id for stored in store(connection, [submission] * count, "test")]


def statuses(connection: Connection) -> list[str]:
    return list(connection.execute(text("SELECT status FROM messages ORDER BY id")).scalars())


def test_a_task_carries_message_id_and_claim_token_and_no_content(
    scan: Any, queues: Any, connection: Connection
) -> None:
    [message_id] = put(metadata={"secret": SECRET}, sender="+12025550199")
    assert scan().queued == 1
    assert queues.arguments("gateway") == [[message_id, 1]]
    [raw] = queues.raw("deliver.gateway")
    for private in (SECRET, "+12025550100", "+12025550199"):
        assert private.encode() not in raw
    assert statuses(connection) == ["queued"]


def test_tasks_are_published_by_priority_and_age(scan: Any, queues: Any) -> None:
    [late, early] = put(2, priority=3)
    [urgent] = put(priority=0)
    assert scan().queued == 3
    assert [arguments[0] for arguments in queues.arguments("gateway")] == [urgent, late, early]


def test_no_more_than_max_in_flight_is_queued(
    scan: Any, queues: Any, connection: Connection
) -> None:
    put(6)
    first = scan()
    assert (first.queued, first.next_due) == (4, timedelta(0))
    assert scan().queued == 0
    assert sorted(statuses(connection)) == ["outbox"] * 2 + ["queued"] * 4


def test_no_more_than_the_rate_limit_allows_is_queued(
    agents_file: Any, scan: Any, queues: Any
) -> None:
    agents_file.write_text(
        agents_file.read_text().replace(
            "max_in_flight = 4", 'max_in_flight = 4\nrate_limits = ["2/hour"]', 1
        )
    )
    agents.cache_clear()
    put(4)
    assert scan().queued == 2


@pytest.mark.parametrize("paused", ["agent", "scheduler"])
def test_nothing_is_queued_during_a_pause(scan: Any, queues: Any, paused: str) -> None:
    put()
    with db.transaction() as connection:
        if paused == "agent":
            pause_agent(connection, "gateway", reason=None, by="test")
        else:
            pause_scheduler(connection, by="test")
    assert scan().queued == 0
    with db.transaction() as connection:
        if paused == "agent":
            resume_agent(connection, "gateway", by="test")
        else:
            resume_scheduler(connection, by="test")
    assert scan().queued == 1


def test_only_one_scan_runs_at_a_time(scan: Any) -> None:
    put()
    with db.transaction() as first:
        claims.lock(first)
        assert scan() is None
    assert scan().queued == 1


def test_nothing_is_claimed_while_redis_is_down(
    scan: Any, connection: Connection, environment: pytest.MonkeyPatch
) -> None:
    from app.limits import limiter
    from app.settings import settings

    put()
    environment.setenv("REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    settings.cache_clear()
    limiter.cache_clear()
    with pytest.raises(redis.ConnectionError):
        scan()
    assert statuses(connection) == ["outbox"]


@pytest.fixture
def full(queues: Any) -> Iterator[Any]:
    """A Redis without free memory."""
    queues.client.config_set("maxmemory", 1)
    yield queues
    queues.client.config_set("maxmemory", 0)


def test_messages_whose_tasks_could_not_be_published_are_due_again(
    scan: Any, full: Any, connection: Connection
) -> None:
    put(3)
    with pytest.raises((KombuError, redis.RedisError)):
        scan()
    assert statuses(connection) == ["outbox"] * 3
    full.client.config_set("maxmemory", 0)
    assert scan().queued == 3
    assert {number for _, number in full.arguments("gateway")} == {3}, "older tasks are stale"
