"""Figures on the agents and the scheduler, for `postroom status`, the API and the metrics.

Each figure is read from a partial index, so its cost depends on what is counted and not on the
size of the table. All ages are measured by the clock of the database.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

SENT_WITHIN = timedelta(hours=1)
RECEIVED_WITHIN = timedelta(hours=1)
FAILED_WITHIN = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class AgentOverview:
    """Figures on an agent.

    Args:
        agent: Its name, or empty for messages that ended before they had an agent.
        configured: False for an agent that has messages but is no longer in `agents.toml`.
        waiting: Messages in `outbox` or `retry` that no task holds, due or not.
        in_flight: Messages that a task, a worker or a Celery retry holds.
        sent_last_hour: Messages that were sent, and not bounced since.
        failed_last_day: Messages that failed, and are replayed by default.
        unknown_last_day: Messages of which nobody knows whether they were sent.
        bounced_last_day: Messages that bounced.
        expired_last_day: Messages that expired before they could be sent.
        oldest_due: How long the oldest due message has been due; None if none is.
        paused: Whether an operator, or an error of the provider, has paused it.
        paused_reason: Why it is paused.
    """

    agent: str
    configured: bool
    waiting: int
    in_flight: int
    sent_last_hour: int
    failed_last_day: int
    unknown_last_day: int
    bounced_last_day: int
    expired_last_day: int
    oldest_due: timedelta | None
    paused: bool
    paused_reason: str | None


@dataclass(frozen=True, slots=True)
class SchedulerOverview:
    """The state of the scheduler, and who changed it last.

    `unrouted` counts messages that have no agent or conversation yet, `unparsed` the webhooks and
    e-mails that could not be parsed.
    """

    running: bool
    changed_by: str | None
    changed_at: datetime
    last_scan_at: datetime | None
    last_scan_age: timedelta | None
    unrouted: int
    unparsed: int


# Statuses are literals because partial indexes cannot be used with parameters.
COUNTS = text("""
SELECT 'waiting' AS figure, agent, count(*) AS number FROM messages
WHERE status IN ('outbox', 'retry') AND lease_until IS NULL AND agent IS NOT NULL
GROUP BY agent
UNION ALL
SELECT 'in_flight', agent, count(*) FROM messages WHERE lease_until IS NOT NULL GROUP BY agent
UNION ALL
SELECT 'sent', agent, count(*) FROM messages
WHERE finished_at > now() - CAST(:sent_within AS interval) AND status IN ('sent', 'delivered')
GROUP BY agent
UNION ALL
SELECT status, coalesce(agent, ''), count(*) FROM messages
WHERE finished_at > now() - CAST(:failed_within AS interval)
    AND status IN ('failed', 'unknown', 'bounced', 'expired')
GROUP BY status, coalesce(agent, '')
""")

OLDEST_DUE = text("""
SELECT agent, now() - due_at AS age
FROM first_due(CAST(:agents AS text[]))
WHERE due_at <= now()
""")

SCHEDULER = text("""
SELECT running, changed_by, changed_at, last_scan_at, now() - last_scan_at AS last_scan_age,
    (SELECT count(*) FROM messages
     WHERE is_unrouted(status, agent, conversation_id)) AS unrouted,
    (SELECT count(*) FROM unparsed_inbound WHERE error IS NOT NULL) AS unparsed
FROM scheduler_state
""")


def list_agents(connection: Connection, configured: Collection[str]) -> list[AgentOverview]:
    """Return figures on the `configured` agents and on others that have messages."""
    figures = {
        (row.figure, row.agent): row.number
        for row in connection.execute(
            COUNTS, {"sent_within": SENT_WITHIN, "failed_within": FAILED_WITHIN}
        )
    }
    names = sorted({*configured, *(agent for _, agent in figures)})
    oldest = get_oldest_due(connection, names)
    paused = {
        row.agent: row.reason
        for row in connection.execute(text("SELECT agent, reason FROM agent_states WHERE paused"))
    }
    return [
        AgentOverview(
            agent=name,
            configured=name in configured,
            waiting=figures.get(("waiting", name), 0),
            in_flight=figures.get(("in_flight", name), 0),
            sent_last_hour=figures.get(("sent", name), 0),
            failed_last_day=figures.get(("failed", name), 0),
            unknown_last_day=figures.get(("unknown", name), 0),
            bounced_last_day=figures.get(("bounced", name), 0),
            expired_last_day=figures.get(("expired", name), 0),
            oldest_due=oldest.get(name),
            paused=name in paused,
            paused_reason=paused.get(name),
        )
        for name in names
    ]


def get_oldest_due(connection: Connection, agents: Collection[str]) -> dict[str, timedelta]:
    """Return how long the oldest due message of each agent has been due.

    Agents without a due message are left out.
    """
    rows = connection.execute(OLDEST_DUE, {"agents": list(agents)})
    return {row.agent: row.age for row in rows}


def count_receipts(connection: Connection) -> dict[tuple[str, str], int]:
    """Return the number of receipts in the last hour, by agent and kind."""
    rows = connection.execute(
        text("""
            SELECT agent, kind, count(*) AS number FROM receipts
            WHERE received_at > now() - CAST(:within AS interval) GROUP BY agent, kind
        """),
        {"within": RECEIVED_WITHIN},
    )
    return {(row.agent, row.kind): row.number for row in rows}


def get_scheduler(connection: Connection) -> SchedulerOverview:
    """Return the state of the scheduler."""
    row = connection.execute(SCHEDULER).one()
    return SchedulerOverview(
        running=row.running,
        changed_by=row.changed_by,
        changed_at=row.changed_at,
        last_scan_at=row.last_scan_at,
        last_scan_age=row.last_scan_age,
        unrouted=row.unrouted,
        unparsed=row.unparsed,
    )
