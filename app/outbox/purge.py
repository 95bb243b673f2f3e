"""Delete rows that are past their retention, at most 1,000 a call."""

from datetime import timedelta

from sqlalchemy import Connection, text

from app.outbox.store import IDEMPOTENCY_WINDOW

PURGE_BATCH = 1000

# SKIP LOCKED, or a message that is being replayed would be deleted too.
PURGE_MESSAGES = text("""
DELETE FROM messages WHERE id = ANY(ARRAY(
    SELECT id FROM messages
    WHERE finished_at < now() - CAST(:retention AS interval)
    ORDER BY finished_at
    LIMIT :batch
    FOR UPDATE SKIP LOCKED
))
""")

PURGE_UNMATCHED_RECEIPTS = text("""
DELETE FROM receipts WHERE id = ANY(ARRAY(
    SELECT id FROM receipts
    WHERE message_id IS NULL AND received_at < now() - CAST(:retention AS interval)
    LIMIT :batch
))
""")

PURGE_IDEMPOTENCY_KEYS = text("""
DELETE FROM idempotency_keys WHERE created_at < now() - CAST(:retention AS interval)
""")


def purge_messages(connection: Connection, retention: timedelta) -> int:
    """Delete messages that ended longer ago than `retention`, with their attachments, attempts,
    events and receipts. Return how many messages were deleted.
    """
    values = {"retention": retention, "batch": PURGE_BATCH}
    return connection.execute(PURGE_MESSAGES, values).rowcount


def purge_receipts(connection: Connection, retention: timedelta) -> int:
    """Delete receipts older than `retention` that match no message. Return how many."""
    values = {"retention": retention, "batch": PURGE_BATCH}
    return connection.execute(PURGE_UNMATCHED_RECEIPTS, values).rowcount


def purge_idempotency_keys(connection: Connection) -> int:
    """Delete idempotency keys older than 24 hours and return how many."""
    return connection.execute(PURGE_IDEMPOTENCY_KEYS, {"retention": IDEMPOTENCY_WINDOW}).rowcount
