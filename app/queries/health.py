"""Asks PostgreSQL and Redis how they are, and never waits longer than a deadline for either.

A server that is frozen keeps its connections open and answers nothing, and a statement timeout is
kept by the server itself. So the probe of PostgreSQL has a connection of its own, without
blocking calls, and gives up by the clock of this process. That it is a new one each time also
shows that new connections can be made.
"""

import select
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg2
import psycopg2.errors
import redis
from psycopg2 import extensions

from app import db
from app.redis import make_client
from migrations import newest_revision

DEADLINE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Pulse:
    """Signs of life in the outbox. Ages in seconds, by the database's clock."""

    running: bool
    last_scan_age: float | None
    oldest_due_age: float | None
    paused: list[str]


# What is due and not yet being sent, of agents that are not paused: waiting, queued for a worker
# that does not come, or not routed. Walks the partial indexes as the scan does.
PULSE = """
WITH paused AS (SELECT coalesce(array_agg(agent ORDER BY agent), '{}') AS agents
    FROM agent_states WHERE paused)
SELECT (SELECT version_num FROM alembic_version),
    running, extract(epoch FROM now() - last_scan_at)::float8, (
    SELECT extract(epoch FROM now() - min(due_at))::float8 FROM (
        SELECT due_at FROM first_due(%(agents)s::text[])
        WHERE agent <> ALL (paused.agents)
        UNION ALL
        SELECT due_at FROM messages
        WHERE lease_until IS NOT NULL AND status = 'queued' AND agent <> ALL (paused.agents)
        UNION ALL
        (SELECT due_at FROM messages
        WHERE is_unrouted(status, agent, conversation_id)
        ORDER BY id LIMIT 1)
    ) AS waiting WHERE due_at <= now()
), paused.agents
FROM scheduler_state CROSS JOIN paused
"""


def pulse(agents: list[str]) -> Pulse | None:
    """The signs of life; None where the database is not migrated to the newest revision.

    Raises psycopg2.Error and TimeoutError where it does not answer.
    """
    try:
        [(revision, *signs)] = _ask(PULSE, {"agents": agents})
    except (
        psycopg2.errors.UndefinedTable,
        psycopg2.errors.UndefinedColumn,
        psycopg2.errors.UndefinedFunction,
    ):
        return None
    return Pulse(*signs) if revision == newest_revision() else None


def redis_answers() -> bool:
    """Whether Redis answers in time."""
    with make_client("health", timeout_seconds=DEADLINE_SECONDS / 2, retries=0) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False


def _ask(statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    deadline = time.monotonic() + DEADLINE_SECONDS
    url = db.engine().url.set(drivername="postgresql").render_as_string(hide_password=False)
    connection = psycopg2.connect(url, async_=True)
    try:
        _wait(connection, deadline)
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            _wait(connection, deadline)
            return cursor.fetchall()
    finally:
        connection.close()


def _wait(connection: extensions.connection, deadline: float) -> None:
    """Raises TimeoutError at `deadline`, on the monotonic clock."""
    while (state := connection.poll()) != extensions.POLL_OK:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("PostgreSQL did not answer in time")
        readers = [connection] if state == extensions.POLL_READ else []
        writers = [connection] if state == extensions.POLL_WRITE else []
        select.select(readers, writers, [], remaining)
