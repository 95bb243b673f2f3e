"""Count the messages that an address could not receive for the time being.

A full mailbox or an unreachable server says nothing final about an address. It is suppressed for
a limited time once `soft_bounce_limit` different messages bounced within `soft_bounce_days`.
"""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, text

from app import suppression
from app.settings import settings

RECORD = text("""
INSERT INTO soft_bounces (channel_family, address, message_id)
VALUES (:family, :address, :message_id)
ON CONFLICT (message_id, address) DO NOTHING
""")

COUNT = text("""
SELECT count(*) FROM soft_bounces
WHERE channel_family = :family AND address = :address
    AND created_at > now() - CAST(:period AS interval)
""")

RESET = text("""
DELETE FROM soft_bounces WHERE channel_family = :family AND address = :address
""")

FIND_RECIPIENT = text("""
SELECT channel_family(channel) AS family, address_key(channel, recipient) AS address, agent
FROM messages WHERE id = :message_id
""")

PURGE = text("""
DELETE FROM soft_bounces WHERE id = ANY(ARRAY(
    SELECT id FROM soft_bounces
    WHERE created_at < now() - CAST(:period AS interval)
    LIMIT 1000
))
""")


def record(
    connection: Connection,
    key: suppression.Key,
    *,
    message_id: int,
    agent: str | None,
    detail: str | None,
) -> None:
    """Count a soft bounce of an address, once for each message, and suppress the address at the
    limit.
    """
    limit = settings().soft_bounce_limit
    if not limit:
        return
    family, address = key
    values = {"family": family, "address": address, "message_id": message_id}
    connection.execute(RECORD, values)
    if connection.execute(COUNT, {**values, "period": _period()}).scalar_one() < limit:
        return
    suppression.add(
        connection,
        key,
        reason="soft_bounce",
        by="postroom",
        detail=detail,
        agent=agent,
        message_id=message_id,
        expires_at=datetime.now(UTC) + timedelta(days=settings().soft_bounce_suppression_days),
    )
    connection.execute(RESET, values)


def record_recipient(connection: Connection, message_id: int, detail: str | None) -> None:
    """Count a soft bounce of a message's own recipient."""
    row = connection.execute(FIND_RECIPIENT, {"message_id": message_id}).one()
    key = row.family, row.address
    record(connection, key, message_id=message_id, agent=row.agent, detail=detail)


def purge(connection: Connection) -> int:
    """Delete up to 1,000 soft bounces that no longer count and return how many."""
    return connection.execute(PURGE, {"period": _period()}).rowcount


def _period() -> timedelta:
    return timedelta(days=settings().soft_bounce_days)
