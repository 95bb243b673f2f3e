"""Make SQL submission safe: value ranges, and a role that can set only a submission's columns."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TIMESTAMPS = (
    "created_at",
    "send_at",
    "due_at",
    "expires_at",
    "lease_until",
    "sent_at",
    "finished_at",
)
CHECKS = {
    "claim_token": "claim_token BETWEEN 0 AND 1000000000",
    "attempts": "attempts BETWEEN 0 AND 1000000",
    "timestamps": " AND ".join(
        f"{column} >= '1970-01-01+00' AND {column} < '2200-01-01+00'" for column in TIMESTAMPS
    ),
    "objects": "jsonb_typeof(headers) = 'object' AND jsonb_typeof(metadata) = 'object'"
    " AND jsonb_typeof(refused) = 'object'",
    "copies": "coalesce(array_ndims(cc), 1) = 1 AND array_position(cc, NULL) IS NULL"
    " AND coalesce(array_ndims(bcc), 1) = 1 AND array_position(bcc, NULL) IS NULL",
}

# Rows that were inserted before the checks and would break them.
REPAIR = f"""
UPDATE messages SET
    claim_token = least(greatest(claim_token, 0), 1000000000),
    attempts = least(greatest(attempts, 0), 1000000),
    {", ".join(f"{column} = least(greatest({column}, '1970-01-01+00'), '2199-12-31+00')" for column in TIMESTAMPS)},
    headers = CASE jsonb_typeof(headers) WHEN 'object' THEN headers ELSE '{{}}' END,
    metadata = CASE jsonb_typeof(metadata) WHEN 'object' THEN metadata ELSE '{{}}' END,
    refused = CASE jsonb_typeof(refused) WHEN 'object' THEN refused ELSE '{{}}' END,
    cc = CASE WHEN coalesce(array_ndims(cc), 1) = 1 THEN array_remove(cc, NULL) ELSE '{{}}' END,
    bcc = CASE WHEN coalesce(array_ndims(bcc), 1) = 1 THEN array_remove(bcc, NULL) ELSE '{{}}' END
WHERE NOT ({" AND ".join(f"coalesce({check}, true)" for check in CHECKS.values())})
"""  # noqa: S608 - constants

# A role belongs to the whole server, and whoever migrates may not be allowed to create it.
CREATE_ROLE = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'postroom_submit') THEN
        CREATE ROLE postroom_submit NOLOGIN;
    END IF;
    GRANT INSERT (
        channel, agent, profile, priority, sender, recipient, cc, bcc, reply_to, subject, body, html,
        headers, payload, metadata, reference, submitted_by, send_at, expires_at
    ) ON messages TO postroom_submit;
    GRANT SELECT (id, uid) ON messages TO postroom_submit;
    GRANT INSERT (message_id, name, content_type, content, url, sha256) ON attachments
        TO postroom_submit;
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE WARNING 'cannot create the role postroom_submit: %', SQLERRM;
    WHEN duplicate_object OR unique_violation THEN
        RAISE WARNING 'the role postroom_submit is being created by another migration';
END $$
"""

DROP_GRANTS = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'postroom_submit') THEN
        REVOKE ALL ON messages, attachments FROM postroom_submit;
    END IF;
END $$
"""


def upgrade() -> None:
    op.execute(REPAIR)
    for name, check in CHECKS.items():
        op.execute(f"ALTER TABLE messages ADD CONSTRAINT {name} CHECK ({check}) NOT VALID")
    # Validation takes a lock that lets reads and writes continue.
    for name in CHECKS:
        op.execute(f"ALTER TABLE messages VALIDATE CONSTRAINT {name}")
    # The trigger writes events and notifies whatever role inserts a message.
    op.execute(
        "ALTER FUNCTION messages_record_status() SECURITY DEFINER SET search_path FROM CURRENT"
    )
    op.execute(CREATE_ROLE)


def downgrade() -> None:
    op.execute(DROP_GRANTS)
    op.execute("ALTER FUNCTION messages_record_status() SECURITY INVOKER RESET search_path")
    for name in CHECKS:
        op.execute(f"ALTER TABLE messages DROP CONSTRAINT {name}")
