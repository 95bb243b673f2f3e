"""How things stand: what each agent has waiting, in flight, sent and failed, and the scheduler.

Read by `postroom status`, the API and the metrics. Each figure comes from a partial index, so it
costs what it counts and not what the table holds. All ages are measured on the database's clock.
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
    """How one agent stands.

    `waiting` counts what nobody holds, due or not; `failed` what was refused, bounced or may
    have been sent. `oldest_due` is how long the message due first has been due, None where none
    is. An agent that has messages but is no longer in `agents.toml` is not `configured`.
    """

    code: str
    configured: bool
    waiting: int
    in_flight: int
    sent_last_hour: int
    failed_last_day: int
    oldest_due: timedelta | None
    paused: bool
    paused_reason: str | None


@dataclass(frozen=True, slots=True)
class SchedulerOverview:
    """Whether anything is sent at all, who last said so, and how long ago the last scan was.

    `unrouted` counts messages that no scan has given an agent yet.
    """

    running: bool
    changed_by: str | None
    changed_at: datetime
    last_scan_at: datetime | None
    last_scan_age: timedelta | None
    unrouted: int


# The statuses are literals: with parameters the partial indexes could not be used.
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
SELECT 'failed', agent, count(*) FROM messages
WHERE finished_at > now() - CAST(:failed_within AS interval)
    AND status IN ('failed', 'unknown', 'bounced') AND agent IS NOT NULL
GROUP BY agent
""")

OLDEST_DUE = text("""
SELECT agent, now() - due_at AS age
FROM first_due(CAST(:agents AS text[]))
WHERE due_at <= now()
""")

SCHEDULER = text("""
SELECT running, changed_by, changed_at, last_scan_at, now() - last_scan_at AS last_scan_age,
    (SELECT count(*) FROM messages
     WHERE is_unrouted(status, agent, conversation_id)) AS unrouted
FROM scheduler_state
""")


def agents(connection: Connection, configured: Collection[str]) -> list[AgentOverview]:
    """How each of the `configured` agents stands, and each other one that has messages."""
    figures = {
        (row.figure, row.agent): row.number
        for row in connection.execute(
            COUNTS, {"sent_within": SENT_WITHIN, "failed_within": FAILED_WITHIN}
        )
    }
    codes = sorted({*configured, *(agent for _, agent in figures)})
    oldest = oldest_due(connection, codes)
    paused = {
        row.agent: row.reason
        for row in connection.execute(text("SELECT agent, reason FROM agent_states WHERE paused"))
    }
    return [
        AgentOverview(
            code=code,
            configured=code in configured,
            waiting=figures.get(("waiting", code), 0),
            in_flight=figures.get(("in_flight", code), 0),
            sent_last_hour=figures.get(("sent", code), 0),
            failed_last_day=figures.get(("failed", code), 0),
            oldest_due=oldest.get(code),
            paused=code in paused,
            paused_reason=paused.get(code),
        )
        for code in codes
    ]


def oldest_due(connection: Connection, agents: Collection[str]) -> dict[str, timedelta]:
    """How long the message due first has been due, for each of `agents` that has one."""
    rows = connection.execute(OLDEST_DUE, {"agents": list(agents)})
    return {row.agent: row.age for row in rows}


def receipts(connection: Connection) -> dict[tuple[str, str], int]:
    """How many receipts of each kind, those that were not recognised among them, each agent had in
    the last hour.
    """
    rows = connection.execute(
        text("""
            SELECT agent, kind, count(*) AS number FROM receipts
            WHERE received_at > now() - CAST(:within AS interval) GROUP BY agent, kind
        """),
        {"within": RECEIVED_WITHIN},
    )
    return {(row.agent, row.kind): row.number for row in rows}


def scheduler(connection: Connection) -> SchedulerOverview:
    """How the scheduler stands."""
    row = connection.execute(SCHEDULER).one()
    return SchedulerOverview(
        running=row.running,
        changed_by=row.changed_by,
        changed_at=row.changed_at,
        last_scan_at=row.last_scan_at,
        last_scan_age=row.last_scan_age,
        unrouted=row.unrouted,
    )
