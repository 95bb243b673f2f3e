"""Expire messages that were not sent before their `expires_at`."""

from sqlalchemy import Connection, text

EXPIRE_BATCH = 1000

# An array, which is evaluated once: a subquery with a LIMIT may be run again for each row.
EXPIRE = text("""
UPDATE messages
SET status = 'expired', reason = 'not sent before expires_at', lease_until = NULL,
    finished_at = now()
WHERE id = ANY(ARRAY(
    SELECT id FROM messages
    WHERE expires_at <= now() AND status IN ('outbox', 'queued', 'retry')
    ORDER BY expires_at
    LIMIT :batch
    FOR UPDATE SKIP LOCKED
))
""")


def expire(connection: Connection) -> int:
    """Expire up to 1,000 overdue messages and return how many."""
    return connection.execute(EXPIRE, {"batch": EXPIRE_BATCH}).rowcount
