"""Store webhooks with e-mail, large webhooks and mailboxes' e-mails before they are parsed."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    now = sa.text("now()")
    op.create_table(
        "unparsed_inbound",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("request", postgresql.JSONB(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("attempts", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint("kind IN ('inbound', 'status', 'mailbox')", name="kind"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "unparsed_inbound_due",
        "unparsed_inbound",
        ["due_at"],
        postgresql_where=sa.text("error IS NULL"),
    )
    op.create_index(
        "unparsed_inbound_failed",
        "unparsed_inbound",
        ["id"],
        postgresql_where=sa.text("error IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_table("unparsed_inbound")
