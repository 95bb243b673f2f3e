"""The health of PostgreSQL, Redis and the scheduler.

A frozen server keeps its connections open and answers nothing, and it is the server that enforces
a statement timeout. So PostgreSQL is checked over a non-blocking connection, with a deadline by
the clock of this process. The connection is a new one each time, which also shows that new
connections can be made.
"""

import select
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import psycopg2
import psycopg2.errors
import redis
from psycopg2 import extensions
from pydantic import BaseModel, Field

from app import db
from app.agents import agents
from app.redis import make_client
from app.settings import settings
from migrations import newest_revision

DEADLINE_SECONDS = 2.0
MAX_MISSED_SCANS = 3
MAX_DUE_AGE = timedelta(minutes=5)

DatabaseStatus = Literal["up", "down", "read_only", "not_migrated"]


class Health(BaseModel):
    """The health of Postroom.

    `degraded` means that PostgreSQL or Redis is down or accepts no writes, or that messages are
    not being sent: no scan has run for three scan intervals, or a message has been due for five
    minutes, although neither the scheduler nor the agent is paused.
    """

    status: Literal["up", "degraded"]
    database: DatabaseStatus
    redis: Literal["up", "down"]
    scheduler: Literal["running", "paused"] | None = Field(
        description="This field and the next ones are `null` if the database is not up."
    )
    last_scan_age_seconds: float | None
    oldest_due_age_seconds: float | None = Field(description="`null` if no message is due.")
    paused_agents: list[str] | None


@dataclass(frozen=True, slots=True)
class _Outbox:
    """The state of the outbox. Ages are in seconds, by the clock of the database."""

    running: bool
    last_scan_age: float | None
    oldest_due_age: float | None
    paused_agents: list[str]


# Writes and commits a row, which fails if the server is read-only or its disk is full. Then reads
# the messages that are due and not yet being sent, of agents that are not paused: waiting, queued,
# or without an agent, from the same partial indexes as the scan.
OUTBOX = """
WITH written AS (
    INSERT INTO leases (name, holder, lease_until) VALUES ('health', 'health', now())
    ON CONFLICT (name) DO UPDATE SET lease_until = excluded.lease_until
), paused AS (SELECT coalesce(array_agg(agent ORDER BY agent), '{}') AS agents
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


def get_health() -> Health:
    """Return the health of Postroom. Takes at most a few seconds, even if a server is frozen."""
    redis_status: Literal["up", "down"] = "up" if _is_redis_up() else "down"
    database, outbox = _check_database([*agents().by_name])
    if outbox is None:
        return Health(
            status="degraded",
            database=database,
            redis=redis_status,
            scheduler=None,
            last_scan_age_seconds=None,
            oldest_due_age_seconds=None,
            paused_agents=None,
        )
    is_up = redis_status == "up" and not _is_stuck(outbox)
    return Health(
        status="up" if is_up else "degraded",
        database=database,
        redis=redis_status,
        scheduler="running" if outbox.running else "paused",
        last_scan_age_seconds=outbox.last_scan_age,
        oldest_due_age_seconds=outbox.oldest_due_age,
        paused_agents=outbox.paused_agents,
    )


def get_database_status() -> DatabaseStatus:
    """Return whether the database is up and migrated, so that messages can be accepted."""
    status, _ = _check_database([])
    return status


def _check_database(agents: Sequence[str]) -> tuple[DatabaseStatus, _Outbox | None]:
    """Return the state of the outbox too, if the database is up."""
    try:
        [(revision, *state)] = _query(OUTBOX, {"agents": [*agents]})
    except (
        psycopg2.errors.UndefinedTable,
        psycopg2.errors.UndefinedColumn,
        psycopg2.errors.UndefinedFunction,
    ):
        return "not_migrated", None
    except psycopg2.errors.ReadOnlySqlTransaction:
        return "read_only", None
    except (psycopg2.Error, TimeoutError):
        return "down", None
    if revision != newest_revision():
        return "not_migrated", None
    return "up", _Outbox(*state)


def _is_stuck(outbox: _Outbox) -> bool:
    """Return whether messages are not being sent although the scheduler is running."""
    if not outbox.running:
        return False
    return (
        outbox.last_scan_age is None
        or outbox.last_scan_age > MAX_MISSED_SCANS * settings().scan_seconds
        or (outbox.oldest_due_age or 0) > MAX_DUE_AGE.total_seconds()
    )


def _is_redis_up() -> bool:
    with make_client("health", timeout_seconds=DEADLINE_SECONDS / 2, retries=0) as client:
        try:
            # A write: a server that is full or read-only answers a PING.
            return bool(client.set("postroom:health", 1, ex=60))
        except redis.RedisError:
            return False


def _query(statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
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
    """Wait for the server until `deadline` (monotonic). Raises TimeoutError."""
    while (state := connection.poll()) != extensions.POLL_OK:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("PostgreSQL did not respond in time")
        readers = [connection] if state == extensions.POLL_READ else []
        writers = [connection] if state == extensions.POLL_WRITE else []
        select.select(readers, writers, [], remaining)
