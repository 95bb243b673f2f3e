"""The outbox: messages, what became of them, and who may submit and steer."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

RECORD_STATUS = """
CREATE FUNCTION messages_record_status() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO message_events (message_id, to_status, reason)
        SELECT id, status, reason FROM new_rows;
    ELSE
        INSERT INTO message_events (message_id, from_status, to_status, reason)
        SELECT new_rows.id, old_rows.status, new_rows.status, new_rows.reason
        FROM new_rows JOIN old_rows USING (id)
        WHERE new_rows.status <> old_rows.status;
    END IF;
    -- One bell a transaction: PostgreSQL folds notifications that are alike.
    IF EXISTS (SELECT FROM new_rows WHERE status IN ('outbox', 'retry') AND lease_until IS NULL) THEN
        PERFORM pg_notify('outbox', '');
    END IF;
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    op.create_table(
        "agent_states",
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.Column(
            "changed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("agent"),
    )
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("hash"),
    )
    op.create_index("api_tokens_name", "api_tokens", ["name"], unique=False)
    op.create_table(
        "conversations",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("channel_family", sa.Text(), nullable=False),
        sa.Column("participants", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("channel_family", "participants"),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("headers", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("client", "key"),
    )
    op.create_index("idempotency_keys_created", "idempotency_keys", ["created_at"], unique=False)
    op.create_table(
        "scheduler_state",
        sa.Column("id", sa.SmallInteger(), server_default="1", nullable=False),
        sa.Column("running", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=True),
        sa.Column(
            "changed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("last_scan_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("id = 1", name="single"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "messages",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("uid", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("direction", sa.Text(), server_default="outbound", nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=True),
        sa.Column("profile", sa.Text(), server_default="default", nullable=False),
        sa.Column("status", sa.Text(), server_default="outbox", nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("priority", sa.SmallInteger(), server_default="2", nullable=False),
        sa.Column("sender", sa.Text(), nullable=True),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("cc", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("bcc", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("reply_to", sa.Text(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("body", sa.Text(), server_default="", nullable=False),
        sa.Column("html", sa.Text(), nullable=True),
        sa.Column(
            "headers", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False
        ),
        sa.Column("payload", sa.JSON(none_as_null=True), nullable=True),
        sa.Column(
            "metadata", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False
        ),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("submitted_by", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claim", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("remaining", postgresql.ARRAY(sa.Text()), nullable=True),
        sa.Column(
            "refused", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False
        ),
        sa.Column("provider_message_id", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("conversation_id", sa.BigInteger(), nullable=True),
        sa.Column("parent_id", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "CASE WHEN status IN ('queued', 'sending') THEN lease_until IS NOT NULL WHEN status = 'retry' THEN true ELSE lease_until IS NULL END",
            name="lease",
        ),
        sa.CheckConstraint(
            "CASE direction WHEN 'inbound' THEN status = 'received' ELSE status IN ('outbox', 'queued', 'sending', 'retry', 'sent', 'delivered', 'bounced', 'failed', 'unknown', 'cancelled', 'expired') END",
            name="status",
        ),
        sa.CheckConstraint(
            "channel IN ('email', 'sms', 'mms', 'push', 'payment', 'http')", name="channel"
        ),
        sa.CheckConstraint("direction IN ('outbound', 'inbound')", name="direction"),
        sa.CheckConstraint("recipient <> ''", name="recipient"),
        sa.CheckConstraint("priority BETWEEN 0 AND 3", name="priority"),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversations.id"],
        ),
        sa.ForeignKeyConstraint(["parent_id"], ["messages.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        postgresql_with={
            "fillfactor": "80",
            "autovacuum_vacuum_scale_factor": "0.02",
            "autovacuum_vacuum_insert_scale_factor": "0.05",
        },
    )
    op.create_index("messages_conversation", "messages", ["conversation_id", "id"], unique=False)
    op.create_index(
        "messages_dead",
        "messages",
        ["id"],
        unique=False,
        postgresql_where=sa.text("status IN ('failed', 'unknown', 'bounced')"),
    )
    op.create_index(
        "messages_due",
        "messages",
        ["agent", "priority", "due_at", "id"],
        unique=False,
        postgresql_where=sa.text("status IN ('outbox', 'retry') AND lease_until IS NULL"),
    )
    op.create_index(
        "messages_expiring",
        "messages",
        ["expires_at"],
        unique=False,
        postgresql_where=sa.text(
            "expires_at IS NOT NULL AND status IN ('outbox', 'queued', 'retry')"
        ),
    )
    op.create_index(
        "messages_finished",
        "messages",
        ["finished_at"],
        unique=False,
        postgresql_where=sa.text("finished_at IS NOT NULL"),
    )
    op.create_index(
        "messages_held",
        "messages",
        ["lease_until", "agent"],
        unique=False,
        postgresql_where=sa.text("lease_until IS NOT NULL"),
    )
    op.create_index(
        "messages_parent",
        "messages",
        ["parent_id"],
        unique=False,
        postgresql_where=sa.text("parent_id IS NOT NULL"),
    )
    op.create_index("messages_recipient", "messages", ["recipient", "id"], unique=False)
    op.create_index(
        "messages_reference",
        "messages",
        ["reference"],
        unique=False,
        postgresql_where=sa.text("reference IS NOT NULL"),
    )
    op.create_index(
        "messages_unrouted",
        "messages",
        ["id"],
        unique=False,
        postgresql_where=sa.text(
            "status = 'outbox' AND (agent IS NULL OR conversation_id IS NULL)"
        ),
    )
    op.create_table(
        "attachments",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "content_type", sa.Text(), server_default="application/octet-stream", nullable=False
        ),
        sa.Column("content", sa.LargeBinary(), nullable=True),
        sa.Column("url", sa.Text(), nullable=True),
        sa.CheckConstraint("(content IS NULL) <> (url IS NULL)", name="source"),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("attachments_message", "attachments", ["message_id"], unique=False)
    op.create_table(
        "attempts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("claim", sa.Integer(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.Column(
            "finished_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "outcome IN ('accepted', 'unavailable', 'rejected', 'uncertain', 'misconfigured')",
            name="outcome",
        ),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("attempts_message", "attempts", ["message_id"], unique=False)
    op.create_table(
        "message_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("from_status", sa.Text(), nullable=True),
        sa.Column("to_status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column(
            "happened_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("message_events_message", "message_events", ["message_id"], unique=False)

    op.execute("INSERT INTO scheduler_state DEFAULT VALUES")
    op.execute(RECORD_STATUS)
    op.execute(
        "CREATE TRIGGER messages_inserted AFTER INSERT ON messages REFERENCING NEW TABLE AS new_rows"
        " FOR EACH STATEMENT EXECUTE FUNCTION messages_record_status()"
    )
    op.execute(
        "CREATE TRIGGER messages_updated AFTER UPDATE ON messages"
        " REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows"
        " FOR EACH STATEMENT EXECUTE FUNCTION messages_record_status()"
    )


def downgrade() -> None:
    for table in (
        "message_events",
        "attempts",
        "attachments",
        "messages",
        "scheduler_state",
        "idempotency_keys",
        "conversations",
        "api_tokens",
        "agent_states",
    ):
        op.drop_table(table)
    op.execute("DROP FUNCTION messages_record_status")
