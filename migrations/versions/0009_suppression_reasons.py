"""List an address once for each reason; count soft bounces, and let entries expire.

Addresses of phone channels are compared without the scheme of a link such as `tel:`.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

REASONS = "'opt_out', 'complaint', 'hard_bounce', 'dead_address', 'manual', 'soft_bounce'"
OLD_REASONS = "'hard_bounce', 'complaint', 'opt_out', 'dead_address', 'manual'"

ADDRESS_KEY = r"""
CREATE OR REPLACE FUNCTION address_key(channel text, address text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN channel = 'email'
        THEN lower(rtrim(split_part(address, '<', -1), '>') COLLATE "C")
        WHEN channel IN ('sms', 'mms')
        THEN regexp_replace(address, '^(tel|sms|smsto|mms|mmsto):', '', 'i')
        ELSE address END
$$
"""
OLD_ADDRESS_KEY = """
CREATE OR REPLACE FUNCTION address_key(channel text, address text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN channel = 'email'
        THEN lower(rtrim(split_part(address, '<', -1), '>') COLLATE "C")
        ELSE address END
$$
"""

FIND_SUPPRESSIONS = """
CREATE OR REPLACE FUNCTION find_suppressions(channel text, addresses text[])
RETURNS SETOF suppressions
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT suppressions.*
    FROM unnest(addresses) AS recipient(address)
    JOIN suppressions
        ON suppressions.channel_family = channel_family(find_suppressions.channel)
        AND suppressions.address = address_key(find_suppressions.channel, recipient.address)
        {condition}
$$
"""

# Entries that were added for a number written as a link. An entry for the same reason exists where
# the number had been suppressed in its usual form too.
NORMALISE = """
UPDATE suppressions SET address = address_key('sms', address)
WHERE channel_family = 'phone' AND address <> address_key('sms', address)
    AND NOT EXISTS (
        SELECT FROM suppressions AS other
        WHERE other.channel_family = 'phone' AND other.reason = suppressions.reason
            AND other.address = address_key('sms', suppressions.address)
    )
"""

KEEP_FIRST = """
DELETE FROM suppressions USING suppressions AS first
WHERE first.channel_family = suppressions.channel_family
    AND first.address = suppressions.address AND first.id < suppressions.id
"""


def upgrade() -> None:
    op.add_column(
        "suppressions", sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True)
    )
    op.execute("ALTER TABLE suppressions DROP CONSTRAINT reason")
    op.execute(
        f"ALTER TABLE suppressions ADD CONSTRAINT reason CHECK (reason IN ({REASONS})) NOT VALID"
    )
    op.execute("ALTER TABLE suppressions VALIDATE CONSTRAINT reason")
    op.create_table(
        "soft_bounces",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("channel_family", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("message_id", "address"),
    )
    op.create_index("soft_bounces_address", "soft_bounces", ["channel_family", "address"])
    op.create_index("soft_bounces_created", "soft_bounces", ["created_at"])
    op.execute("ALTER TABLE receipts ADD COLUMN origin text NOT NULL DEFAULT 'verified'")
    op.execute(FIND_SUPPRESSIONS.format(condition="AND (expires_at IS NULL OR expires_at > now())"))
    op.execute(ADDRESS_KEY)
    with op.get_context().autocommit_block():
        op.create_index(
            "suppressions_entry",
            "suppressions",
            ["channel_family", "address", "reason"],
            unique=True,
            postgresql_concurrently=True,
        )
        op.create_index(
            "suppressions_expiring",
            "suppressions",
            ["expires_at"],
            postgresql_where=sa.text("expires_at IS NOT NULL"),
            postgresql_concurrently=True,
        )
    op.execute("ALTER TABLE suppressions DROP CONSTRAINT suppressions_channel_family_address_key")
    op.execute(NORMALISE)


def downgrade() -> None:
    op.execute("DELETE FROM suppressions WHERE reason = 'soft_bounce' OR expires_at IS NOT NULL")
    op.execute(KEEP_FIRST)
    op.create_unique_constraint(
        "suppressions_channel_family_address_key", "suppressions", ["channel_family", "address"]
    )
    op.drop_index("suppressions_expiring", "suppressions")
    op.drop_index("suppressions_entry", "suppressions")
    op.execute(OLD_ADDRESS_KEY)
    op.execute(FIND_SUPPRESSIONS.format(condition=""))
    op.drop_column("receipts", "origin")
    op.drop_table("soft_bounces")
    op.execute("ALTER TABLE suppressions DROP CONSTRAINT reason")
    op.execute(f"ALTER TABLE suppressions ADD CONSTRAINT reason CHECK (reason IN ({OLD_REASONS}))")
    op.drop_column("suppressions", "expires_at")
