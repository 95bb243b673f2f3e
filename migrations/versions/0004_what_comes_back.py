"""What comes back: receipts, messages from outside, and what was read of them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "receipts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("message_id", sa.BigInteger(), nullable=True),
        sa.Column("message_uid", sa.Uuid(), nullable=True),
        sa.Column("provider_message_id", sa.Text(), nullable=True),
        sa.Column("recipient", sa.Text(), nullable=True),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("payload", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("pending", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "received_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("agent", "key"),
    )
    op.create_index("receipts_message", "receipts", ["message_id"])
    op.create_index("receipts_received", "receipts", ["received_at"])
    op.create_index(
        "receipts_pending",
        "receipts",
        ["agent", "provider_message_id"],
        postgresql_where=sa.text("pending"),
    )
    op.create_index(
        "receipts_unmatched",
        "receipts",
        ["received_at"],
        postgresql_where=sa.text("message_id IS NULL"),
    )

    op.add_column("messages", sa.Column("inbound_key", sa.Text(), nullable=True))
    op.create_index(
        "messages_inbound_key",
        "messages",
        [sa.text("coalesce(agent, '')"), "inbound_key"],
        unique=True,
        postgresql_where=sa.text("inbound_key IS NOT NULL"),
    )
    op.create_index(
        "messages_inbound",
        "messages",
        ["conversation_id", "id"],
        postgresql_where=sa.text("direction = 'inbound'"),
    )
    op.create_index("messages_uid", "messages", ["uid"], unique=True)
    op.create_index(
        "messages_provider_message_id",
        "messages",
        ["provider_message_id", "agent"],
        postgresql_where=sa.text("provider_message_id IS NOT NULL"),
    )

    op.add_column(
        "conversations",
        sa.Column("read_up_to", sa.BigInteger(), server_default="0", nullable=False),
    )
    op.create_index(
        "conversations_participants", "conversations", ["participants"], postgresql_using="gin"
    )

    op.create_table(
        "polls",
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("polls", sa.Integer(), server_default="0", nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("message_id"),
    )
    op.create_index("polls_due", "polls", ["agent", "due_at"])

    # PL/pgSQL keeps the plan of its first call, which is for a few rows: for very many of them a
    # nested loop would take minutes.
    op.execute("ALTER FUNCTION messages_record_status() SET enable_nestloop = off")


def downgrade() -> None:
    op.execute("ALTER FUNCTION messages_record_status() RESET ALL")
    op.drop_table("polls")
    op.drop_index("conversations_participants", "conversations")
    op.drop_column("conversations", "read_up_to")
    op.drop_index("messages_provider_message_id", "messages")
    op.drop_index("messages_uid", "messages")
    op.drop_index("messages_inbound", "messages")
    op.drop_column("messages", "inbound_key")
    op.drop_table("receipts")
