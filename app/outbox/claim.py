"""outbox → queued: which messages are due, and what becomes of those whose holder is lost.

One process at a time claims: the scan, and everything that pauses, holds an advisory lock for
its transaction, so no message is queued past a pause, and no window is filled twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, text

from app.agents import Agents

LOCK_KEY = 0x7363616E  # "scan"
SWEEP_AT_ONCE = 1000
MAX_WAIT = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class State:
    """What a scan must know before it claims. `held` counts the messages in flight by agent."""

    running: bool
    paused: frozenset[str]
    held: Mapping[str, int]
    unadopted: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to send one message, once."""

    message_id: int
    agent: str
    number: int


def lock(connection: Connection) -> None:
    """Wait for the right to claim, and hold it to the end of the transaction."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})


def try_lock(connection: Connection) -> bool:
    """As `lock`, but where another process holds it, say so at once."""
    statement = text("SELECT pg_try_advisory_xact_lock(:key)")
    return connection.execute(statement, {"key": LOCK_KEY}).scalar_one() is True


# Its snapshot must be younger than the lock, so it cannot be one statement with it.
BEGIN_SCAN = text("""
UPDATE scheduler_state SET last_scan_at = now()
RETURNING running,
    ARRAY(SELECT agent FROM agent_states WHERE paused) AS paused,
    EXISTS(
        SELECT FROM messages
        WHERE status = 'outbox' AND (agent IS NULL OR conversation_id IS NULL)
    ) AS unadopted,
    (SELECT coalesce(jsonb_object_agg(agent, held), '{}') FROM (
        SELECT agent, count(*) AS held FROM messages
        WHERE lease_until IS NOT NULL AND agent IS NOT NULL GROUP BY agent
    ) AS by_agent) AS held
""")


def begin_scan(connection: Connection) -> State:
    """Note that a scan takes place, and read what it needs. The lock must be held."""
    row = connection.execute(BEGIN_SCAN).one()
    return State(row.running, frozenset(row.paused), row.held, row.unadopted)


# For each agent and priority a walk down the partial index messages_due that ends as soon as the
# room is full: its cost depends on what is claimed, not on what waits.
CLAIM = text("""
WITH due AS (
    SELECT message.id
    FROM unnest(CAST(:agents AS text[]), CAST(:rooms AS int[])) AS agent(name, room)
    CROSS JOIN LATERAL (
        SELECT found.id
        FROM generate_series(0, 3) AS priority
        CROSS JOIN LATERAL (
            SELECT id FROM messages
            WHERE agent = agent.name AND priority = priority.priority
                AND status IN ('outbox', 'retry') AND lease_until IS NULL
                AND due_at <= now() AND (expires_at IS NULL OR expires_at > now())
                AND conversation_id IS NOT NULL
            ORDER BY due_at, id
            LIMIT agent.room
            FOR UPDATE SKIP LOCKED
        ) AS found
        LIMIT agent.room
    ) AS message
), claimed AS (
    UPDATE messages
    SET status = 'queued', reason = NULL, claim = claim + 1,
        lease_until = now() + :lease * interval '1 second'
    -- As an array: of a join, the planner would expect so many rows that it reads the whole table.
    WHERE messages.id = ANY(ARRAY(SELECT id FROM due))
    RETURNING messages.id, messages.agent, messages.claim, messages.priority, messages.due_at
)
SELECT id, agent, claim FROM claimed ORDER BY priority, due_at, id
""")


def claim(connection: Connection, rooms: Mapping[str, int], lease: timedelta) -> list[Claim]:
    """Queue the messages that are due, by priority and then by age, as many of each agent as
    `rooms` says. Each is leased until its task must have begun."""
    rows = connection.execute(
        CLAIM,
        {"agents": [*rooms], "rooms": [*rooms.values()], "lease": lease.total_seconds()},
    )
    return [Claim(row.id, row.agent, row.claim) for row in rows]


def give_back(connection: Connection, claimed: Sequence[Claim]) -> None:
    """Undo claims whose tasks could not all be published; those that were are stale now."""
    connection.execute(
        text("""
            UPDATE messages
            SET status = CASE WHEN attempts = 0 THEN 'outbox' ELSE 'retry' END,
                reason = 'the broker did not take its task', lease_until = NULL,
                claim = messages.claim + 1
            FROM unnest(CAST(:ids AS bigint[]), CAST(:numbers AS int[])) AS given(id, number)
            WHERE messages.id = given.id AND messages.claim = given.number AND status = 'queued'
        """),
        {
            "ids": [claim.message_id for claim in claimed],
            "numbers": [claim.number for claim in claimed],
        },
    )


NEXT_DUE = text("""
SELECT greatest(0, least(
    :longest, min(extract(epoch FROM first.due_at)) - extract(epoch FROM now())
))
FROM unnest(CAST(:agents AS text[])) AS agent(name)
CROSS JOIN generate_series(0, 3) AS priority
CROSS JOIN LATERAL (
    SELECT due_at FROM messages
    WHERE agent = agent.name AND priority = priority.priority
        AND status IN ('outbox', 'retry') AND lease_until IS NULL
    ORDER BY due_at
    LIMIT 1
) AS first
HAVING count(*) > 0
""")


def next_due(connection: Connection, agents: Sequence[str]) -> timedelta | None:
    """How long until one more message of `agents` is due, at most a day: zero where some wait for
    room, None where none waits at all."""
    seconds = connection.execute(
        NEXT_DUE, {"agents": list(agents), "longest": MAX_WAIT.total_seconds()}
    ).scalar_one_or_none()
    return None if seconds is None else timedelta(seconds=float(seconds))


SWEEP = text("""
WITH policy AS (
    SELECT * FROM unnest(
        CAST(:agents AS text[]), CAST(:attempts AS int[]), CAST(:holds AS boolean[])
    ) AS policy(agent, attempts, holds)
), lost AS (
    SELECT messages.id, messages.status, messages.agent, messages.claim,
        CASE
            WHEN status = 'queued' AND messages.attempts = 0 THEN 'outbox'
            WHEN status = 'sending' AND policy.holds THEN 'unknown'
            WHEN status = 'sending' AND messages.attempts >= policy.attempts THEN 'failed'
            ELSE 'retry'
        END AS becomes
    FROM messages LEFT JOIN policy USING (agent)
    WHERE lease_until < now()
    ORDER BY lease_until
    LIMIT :at_once
    FOR UPDATE OF messages SKIP LOCKED
), recorded AS (
    INSERT INTO attempts (message_id, claim, agent, outcome, code, detail)
    SELECT id, claim, agent, 'uncertain', 'worker_lost', 'the worker ended while it was sending'
    FROM lost WHERE status = 'sending'
)
UPDATE messages
SET status = lost.becomes, lease_until = NULL, claim = messages.claim + 1,
    finished_at = CASE WHEN lost.becomes IN ('failed', 'unknown') THEN now() END,
    error_code = CASE WHEN lost.status = 'sending' THEN 'worker_lost' ELSE error_code END,
    reason = CASE WHEN lost.status = 'sending' THEN 'its worker was lost while sending'
        ELSE 'its task was lost before it began' END
FROM lost
WHERE messages.id = lost.id
""")


def sweep(connection: Connection, agents: Agents) -> int:
    """Give up the leases that ran out, and count them.

    A message whose task never began is due again. One whose worker was lost while sending may
    have been sent: it is tried again, or where its agent says `on_uncertain = "hold"` becomes
    `unknown`.
    """
    policies = agents.by_name.values()
    return connection.execute(
        SWEEP,
        {
            "agents": [agent.name for agent in policies],
            "attempts": [agent.retry.attempts for agent in policies],
            "holds": [agent.on_uncertain == "hold" for agent in policies],
            "at_once": SWEEP_AT_ONCE,
        },
    ).rowcount
