"""Rename columns to the terms of the documentation; add the SQL that several statements share."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# The status of a message that is waiting again: whether an attempt was counted.
WAITING_STATUS = """
CREATE FUNCTION waiting_status(attempts integer) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN attempts = 0 THEN 'outbox' ELSE 'retry' END
$$
"""

# Whether a message was inserted by SQL and has not been routed. Inlined by the planner, so that
# the partial index messages_unrouted serves it.
IS_UNROUTED = """
CREATE FUNCTION is_unrouted(status text, agent text, conversation_id bigint) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT status = 'outbox' AND (agent IS NULL OR conversation_id IS NULL)
$$
"""

# The due time of the first waiting message of each agent, by a walk down messages_due.
FIRST_DUE = """
CREATE FUNCTION first_due(agents text[]) RETURNS TABLE (agent text, due_at timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT agent.name, min(first.due_at)
    FROM unnest(agents) AS agent(name)
    CROSS JOIN generate_series(0, 3) AS priority(level)
    CROSS JOIN LATERAL (
        SELECT messages.due_at FROM messages
        WHERE messages.agent = agent.name AND messages.priority = priority.level
            AND messages.status IN ('outbox', 'retry') AND messages.lease_until IS NULL
        ORDER BY messages.due_at
        LIMIT 1
    ) AS first
    GROUP BY agent.name
$$
"""

# The entries of the suppression list that apply to these addresses, by one index probe each.
FIND_SUPPRESSIONS = """
CREATE FUNCTION find_suppressions(channel text, addresses text[]) RETURNS SETOF suppressions
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT suppressions.*
    FROM unnest(addresses) AS recipient(address)
    JOIN suppressions
        ON suppressions.channel_family = channel_family(find_suppressions.channel)
        AND suppressions.address = address_key(find_suppressions.channel, recipient.address)
$$
"""


def upgrade() -> None:
    op.alter_column("messages", "claim", new_column_name="claim_token")
    op.alter_column("attempts", "claim", new_column_name="claim_token")
    op.add_column("messages", sa.Column("send_at", sa.DateTime(timezone=True), nullable=True))
    op.execute(
        "UPDATE messages SET send_at = due_at"
        " WHERE status = 'outbox' AND reason = 'accepted' AND due_at > created_at"
    )
    op.execute("ALTER INDEX messages_held RENAME TO messages_in_flight")
    op.drop_index("messages_dead", "messages")
    op.create_index(
        "messages_failed",
        "messages",
        ["id"],
        postgresql_where=sa.text("status IN ('bounced', 'failed', 'unknown')"),
    )
    for function in (WAITING_STATUS, IS_UNROUTED, FIRST_DUE, FIND_SUPPRESSIONS):
        op.execute(function)


def downgrade() -> None:
    op.execute("DROP FUNCTION find_suppressions, first_due, is_unrouted, waiting_status")
    op.drop_index("messages_failed", "messages")
    op.create_index(
        "messages_dead",
        "messages",
        ["id"],
        postgresql_where=sa.text("status IN ('failed', 'unknown', 'bounced')"),
    )
    op.execute("ALTER INDEX messages_in_flight RENAME TO messages_held")
    op.drop_column("messages", "send_at")
    op.alter_column("attempts", "claim_token", new_column_name="claim")
    op.alter_column("messages", "claim_token", new_column_name="claim")
