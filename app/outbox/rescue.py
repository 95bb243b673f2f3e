"""Rescue messages whose lease has expired, since their task or worker was lost."""

from sqlalchemy import Connection, text

from app.agents import Agents
from app.outbox.outcome import MAX_LOSSES

RESCUE_BATCH = 1000

RESCUE = text("""
WITH policy AS (
    SELECT * FROM unnest(CAST(:agents AS text[]), CAST(:holds AS boolean[]))
        AS policy(agent, holds)
), lost AS (
    SELECT messages.id, messages.status, messages.agent, messages.claim_token,
        CASE
            WHEN status <> 'sending' THEN waiting_status(messages.attempts)
            WHEN policy.holds THEN 'unknown'
            WHEN messages.losses + 1 >= :max_losses THEN 'failed'
            ELSE 'retry'
        END AS next_status
    FROM messages LEFT JOIN policy USING (agent)
    WHERE lease_until < now()
    ORDER BY lease_until
    LIMIT :batch
    FOR UPDATE OF messages SKIP LOCKED
), recorded AS (
    INSERT INTO attempts (message_id, claim_token, agent, outcome, code, detail)
    SELECT id, claim_token, agent, 'uncertain', 'worker_lost', 'worker lost while sending'
    FROM lost WHERE status = 'sending'
)
UPDATE messages
SET status = lost.next_status, lease_until = NULL, claim_token = messages.claim_token + 1,
    attempts = CASE WHEN lost.status = 'sending' THEN attempts - 1 ELSE attempts END,
    losses = CASE WHEN lost.status = 'sending' THEN losses + 1 ELSE losses END,
    finished_at = CASE WHEN lost.next_status IN ('failed', 'unknown') THEN now() END,
    error_code = CASE WHEN lost.status = 'sending' THEN 'worker_lost' ELSE error_code END,
    reason = CASE WHEN lost.status = 'sending' THEN 'worker lost while sending'
        ELSE 'task lost before it started' END
FROM lost
WHERE messages.id = lost.id
""")


def rescue(connection: Connection, agents: Agents) -> int:
    """Rescue up to 1,000 messages with an expired lease and return how many.

    A message whose task never started is due again. One whose worker was lost while sending may
    have been sent: it is retried, or becomes `unknown` if its agent has `on_uncertain = "hold"`.
    The attempt is not counted, since another message may have killed the worker; after three such
    losses the message is given up.
    """
    policies = agents.by_name.values()
    return connection.execute(
        RESCUE,
        {
            "agents": [agent.name for agent in policies],
            "holds": [agent.on_uncertain == "hold" for agent in policies],
            "max_losses": MAX_LOSSES,
            "batch": RESCUE_BATCH,
        },
    ).rowcount
