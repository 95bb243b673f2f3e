"""Claim due messages for sending, and release claims that were not used.

Only one process claims at a time: the scan, and everything that pauses, holds an advisory lock for
its transaction. So no message is queued after a pause was committed, and `max_in_flight` is never
exceeded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, text

LOCK_KEY = 0x7363616E  # "scan"
MAX_WAIT = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ScanState:
    """The state that a scan reads before it claims. `in_flight` counts messages by agent."""

    running: bool
    paused_agents: frozenset[str]
    in_flight: Mapping[str, int]
    has_unrouted: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to send one message once. `token` is the fencing token of its row."""

    message_id: int
    agent: str
    token: int


def lock(connection: Connection) -> None:
    """Wait for the right to claim and hold it until the transaction ends."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})


def try_lock(connection: Connection) -> bool:
    """Take the right to claim if it is free. Return whether it was."""
    statement = text("SELECT pg_try_advisory_xact_lock(:key)")
    return connection.execute(statement, {"key": LOCK_KEY}).scalar_one() is True


# A statement of its own: its snapshot must be taken after the lock.
BEGIN_SCAN = text("""
UPDATE scheduler_state SET last_scan_at = now()
RETURNING running,
    ARRAY(SELECT agent FROM agent_states WHERE paused) AS paused_agents,
    EXISTS(
        SELECT FROM messages WHERE is_unrouted(status, agent, conversation_id)
    ) AS has_unrouted,
    (SELECT coalesce(jsonb_object_agg(agent, number), '{}') FROM (
        SELECT agent, count(*) AS number FROM messages
        WHERE lease_until IS NOT NULL AND agent IS NOT NULL GROUP BY agent
    ) AS by_agent) AS in_flight
""")


def begin_scan(connection: Connection) -> ScanState:
    """Record the scan and return the state that it needs. The lock must be held."""
    row = connection.execute(BEGIN_SCAN).one()
    return ScanState(row.running, frozenset(row.paused_agents), row.in_flight, row.has_unrouted)


# For each agent and priority, a walk down the partial index messages_due that ends as soon as the
# capacity is used up: its cost depends on what is claimed, not on what waits.
CLAIM = text("""
WITH due AS (
    SELECT message.id
    FROM unnest(CAST(:agents AS text[]), CAST(:capacities AS int[])) AS agent(name, capacity)
    CROSS JOIN LATERAL (
        SELECT candidate.id
        FROM generate_series(0, 3) AS priority(level)
        CROSS JOIN LATERAL (
            SELECT id FROM messages
            WHERE agent = agent.name AND priority = priority.level
                AND status IN ('outbox', 'retry') AND lease_until IS NULL
                AND due_at <= now() AND (expires_at IS NULL OR expires_at > now())
                AND conversation_id IS NOT NULL
            ORDER BY due_at, id
            LIMIT agent.capacity
            FOR UPDATE SKIP LOCKED
        ) AS candidate
        LIMIT agent.capacity
    ) AS message
), claimed AS (
    UPDATE messages
    SET status = 'queued', reason = NULL, claim_token = claim_token + 1,
        lease_until = now() + :lease * interval '1 second'
    -- An array: for a join, the planner would expect so many rows that it reads the whole table.
    WHERE messages.id = ANY(ARRAY(SELECT id FROM due))
    RETURNING messages.id, messages.agent, messages.claim_token, messages.priority, messages.due_at
)
SELECT id, agent, claim_token FROM claimed ORDER BY priority, due_at, id
""")


def claim(connection: Connection, capacities: Mapping[str, int], lease: timedelta) -> list[Claim]:
    """Queue due messages by priority, then age, and return their claims.

    `capacities` is the number of messages to claim by agent; `lease` the time until a claim that
    was not started is rescued.
    """
    rows = connection.execute(
        CLAIM,
        {
            "agents": [*capacities],
            "capacities": [*capacities.values()],
            "lease": lease.total_seconds(),
        },
    )
    return [Claim(row.id, row.agent, row.claim_token) for row in rows]


RELEASE = text("""
UPDATE messages
SET status = waiting_status(attempts), reason = :reason, lease_until = NULL,
    claim_token = messages.claim_token + 1,
    due_at = CASE WHEN :wait > 0 THEN now() + :wait * interval '1 second' ELSE due_at END
FROM unnest(CAST(:ids AS bigint[]), CAST(:tokens AS int[])) AS claim(id, token)
WHERE messages.id = claim.id AND messages.claim_token = claim.token
    AND status IN ('queued', 'retry') AND lease_until IS NOT NULL
""")


def release(
    connection: Connection, claims: Sequence[Claim], reason: str, wait: timedelta = timedelta(0)
) -> None:
    """Return claimed messages that were not started. They are due again after `wait`; no attempt
    is counted.
    """
    connection.execute(
        RELEASE,
        {
            "ids": [claim.message_id for claim in claims],
            "tokens": [claim.token for claim in claims],
            "reason": reason,
            "wait": wait.total_seconds(),
        },
    )


NEXT_DUE = text("""
SELECT greatest(0, least(
    :max_wait, min(extract(epoch FROM due_at)) - extract(epoch FROM now())
))
FROM first_due(CAST(:agents AS text[]))
HAVING count(*) > 0
""")


def next_due(connection: Connection, agents: Sequence[str]) -> timedelta | None:
    """Return the time until the next waiting message of `agents` is due, at most a day.

    Zero if a message is due now; None if no message waits.
    """
    seconds = connection.execute(
        NEXT_DUE, {"agents": list(agents), "max_wait": MAX_WAIT.total_seconds()}
    ).scalar_one_or_none()
    return None if seconds is None else timedelta(seconds=float(seconds))
