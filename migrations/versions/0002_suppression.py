"""The suppression list: addresses that are not written to any more."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# What `app.addresses.family` and `app.addresses.key` say in Python. An address that is kept ends
# with the bare one, in angle brackets where a display name precedes it.
CHANNEL_FAMILY = """
CREATE FUNCTION channel_family(channel text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN channel IN ('sms', 'mms') THEN 'phone' ELSE channel END
$$
"""
ADDRESS_KEY = """
CREATE FUNCTION address_key(channel text, address text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN channel = 'email'
        THEN lower(rtrim(split_part(address, '<', -1), '>') COLLATE "C")
        ELSE address END
$$
"""


def upgrade() -> None:
    op.create_table(
        "suppressions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("channel_family", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("agent", sa.Text(), nullable=True),
        sa.Column("message_id", sa.BigInteger(), nullable=True),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "reason IN ('hard_bounce', 'complaint', 'opt_out', 'dead_address', 'manual')",
            name="reason",
        ),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("channel_family", "address"),
    )
    # For the foreign key: without it, each message that is deleted would read the whole list.
    op.create_index(
        "suppressions_message",
        "suppressions",
        ["message_id"],
        unique=False,
        postgresql_where=sa.text("message_id IS NOT NULL"),
    )
    op.execute(CHANNEL_FAMILY)
    op.execute(ADDRESS_KEY)


def downgrade() -> None:
    op.drop_table("suppressions")
    op.execute("DROP FUNCTION channel_family, address_key")
