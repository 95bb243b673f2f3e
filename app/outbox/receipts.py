"""Apply the delivery receipts of providers: store each once, match it, move its message forward.

A receipt stays `pending` while its message is not known by its provider's id yet, or is still
being sent. The status of a message is worked out from all its receipts each time, so neither
their order nor their repetition matters. Receipts for a send before a replay, and receipts for
another recipient of the same mail, are stored but change nothing. Neither do unverified ones for
a message with several recipients, each of whom could have forged them.
"""

import json
import logging
from collections.abc import Collection, Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection, text

from app import addresses, soft_bounces, suppression
from app.db import storable
from app.models import SuppressionReason
from connectors.base import Channel, Receipt

log = logging.getLogger(__name__)

MATCH_WINDOW = timedelta(hours=1)
MATCH_BATCH = 1000

# Let a report with the same content count again once it can no longer be a repeat.
RELEASE_KEY = text("""
UPDATE receipts SET key = key || ':' || id
WHERE agent = :agent AND key = :key AND (
    received_at < now() - CAST(:window AS interval)
    OR EXISTS (
        SELECT FROM message_events
        WHERE message_events.message_id = receipts.message_id AND to_status = 'outbox'
            AND happened_at > received_at
    )
)
""")

STORE = text("""
INSERT INTO receipts (
    agent, key, kind, message_id, message_uid, provider_message_id, recipient, code, detail,
    payload, origin, occurred_at
)
SELECT :agent, receipt.key, receipt.kind,
    coalesce(
        (SELECT id FROM messages
         WHERE uid = receipt.message_uid AND agent = :agent AND direction = 'outbound'),
        (SELECT id FROM messages
         WHERE provider_message_id = receipt.provider_message_id AND agent = :agent
            AND direction = 'outbound'
         ORDER BY id DESC LIMIT 1)
    ),
    receipt.message_uid, receipt.provider_message_id, receipt.recipient, receipt.code,
    receipt.detail, coalesce(receipt.payload, '{}'), receipt.origin, receipt.occurred_at
FROM jsonb_to_recordset(CAST(:receipts AS jsonb)) AS receipt(
    key text, kind text, message_uid uuid, provider_message_id text, recipient text, code text,
    detail text, payload jsonb, origin text, occurred_at timestamptz
)
ON CONFLICT (agent, key) DO NOTHING
RETURNING key, message_id
""")

# A bounce is the final word on an e-mail, since it may arrive days after the delivery receipt. For
# a phone, delivery is: the handset has the message.
APPLY = text("""
WITH latest AS (
    SELECT DISTINCT ON (messages.id)
        messages.id, kind, code, detail, occurred_at
    FROM receipts JOIN messages ON messages.id = receipts.message_id
    WHERE receipts.message_id = ANY(:ids)
        AND kind IN ('sent', 'failed', 'delivered', 'bounced')
        AND (receipts.provider_message_id = messages.provider_message_id) IS NOT FALSE
        AND received_at >= (
            SELECT max(happened_at) FROM message_events
            WHERE message_events.message_id = messages.id AND to_status = 'outbox'
        )
        AND (origin <> 'unverified' OR cardinality(cc || bcc) = 0)
        AND (channel <> 'email' OR receipts.recipient IS NULL
            OR address_key('email', receipts.recipient) = address_key('email', messages.recipient))
    ORDER BY messages.id,
        CASE kind
            WHEN 'sent' THEN 0 WHEN 'failed' THEN 1
            WHEN 'bounced' THEN CASE channel WHEN 'email' THEN 4 ELSE 2 END
            ELSE 3
        END DESC,
        receipts.id
), moved AS (
    UPDATE messages
    SET status = latest.kind,
        reason = concat_ws(
            ': ', 'reported as ' || latest.kind || ' by the provider', latest.detail),
        error_code = CASE WHEN latest.kind IN ('failed', 'bounced') THEN latest.code END,
        claim_token = CASE WHEN messages.status = 'retry' THEN claim_token + 1
            ELSE claim_token END,
        lease_until = NULL,
        sent_at = coalesce(sent_at, latest.occurred_at, now()),
        finished_at = coalesce(finished_at, now())
    FROM latest
    WHERE messages.id = latest.id AND messages.status <> latest.kind
        AND (status IN ('sent', 'delivered', 'bounced', 'failed', 'unknown')
            OR status = 'retry' AND remaining IS NULL)
    RETURNING messages.id, messages.status
), polled AS (
    DELETE FROM polls USING moved WHERE polls.message_id = moved.id AND moved.status <> 'sent'
)
UPDATE receipts SET pending = false
FROM messages
WHERE receipts.message_id = ANY(:ids) AND pending AND messages.id = receipts.message_id
    AND messages.status NOT IN ('outbox', 'queued', 'sending', 'retry')
""")

MATCH = text("""
UPDATE receipts SET message_id = messages.id
FROM messages
WHERE pending AND receipts.message_id IS NULL
    AND received_at > now() - CAST(:match_window AS interval)
    AND messages.agent = receipts.agent AND messages.direction = 'outbound'
    AND messages.provider_message_id = receipts.provider_message_id
    AND (CAST(:message_id AS bigint) IS NULL OR messages.id = :message_id)
""")

FIND_PENDING = text("""
SELECT DISTINCT message_id FROM receipts
WHERE pending AND message_id IS NOT NULL
LIMIT :batch
""")

FIND_RECIPIENTS = text("""
SELECT channel, recipient, recipient || cc || bcc AS recipients FROM messages WHERE id = :id
""")

SUPPRESSION_REASONS: dict[str, SuppressionReason] = {
    "bounced": "hard_bounce",
    "complained": "complaint",
    "unsubscribed": "opt_out",
}


def store(connection: Connection, agent: str, receipts: Sequence[Receipt], channel: Channel) -> int:
    """Store the receipts of an agent's provider, apply those that can be applied now, and return
    how many were new.

    `channel` is the channel of receipts whose message is not known.
    """
    for receipt in receipts:
        if receipt.repeat_window is not None:
            window = {"key": storable(receipt.key), "window": receipt.repeat_window}
            connection.execute(RELEASE_KEY, {"agent": agent, **window})
    values = {"agent": agent, "receipts": json.dumps([_row(receipt) for receipt in receipts])}
    new = {row.key: row.message_id for row in connection.execute(STORE, values)}
    apply(connection, {message_id for message_id in new.values() if message_id is not None})
    for receipt in receipts:
        if receipt.suppress and receipt.key in new:
            _suppress(connection, agent, receipt, new[receipt.key], channel)
    return len(new)


def apply(connection: Connection, message_ids: Collection[int]) -> None:
    """Set these messages to the status that their receipts report."""
    if message_ids:
        connection.execute(APPLY, {"ids": list(message_ids)})


def match(connection: Connection, message_id: int) -> None:
    """Apply receipts that arrived before the message was settled."""
    connection.execute(MATCH, {"match_window": MATCH_WINDOW, "message_id": message_id})
    apply(connection, [message_id])


def match_all(connection: Connection) -> None:
    """Apply pending receipts of all messages: those that arrived while their message was being
    settled.
    """
    connection.execute(MATCH, {"match_window": MATCH_WINDOW, "message_id": None})
    apply(connection, connection.execute(FIND_PENDING, {"batch": MATCH_BATCH}).scalars().all())


def _row(receipt: Receipt) -> dict[str, object]:
    names = (
        "key",
        "kind",
        "provider_message_id",
        "recipient",
        "code",
        "detail",
        "payload",
        "origin",
    )
    return {
        **{name: storable(getattr(receipt, name)) for name in names},
        "message_uid": _uid(receipt.message_uid),
        "occurred_at": receipt.occurred_at and receipt.occurred_at.isoformat(),
    }


def _uid(text: str | None) -> str | None:
    """Return our own id as a provider returned it; None if it was garbled."""
    try:
        return text and str(UUID(text))
    except ValueError:
        return None


def _suppress(
    connection: Connection, agent: str, receipt: Receipt, message_id: int | None, channel: Channel
) -> None:
    row = connection.execute(FIND_RECIPIENTS, {"id": message_id}).one_or_none()
    if row is not None:
        channel = row.channel
    try:
        key = _key(channel, receipt.recipient or (row.recipient if row else ""))
        reached = {_key(channel, address) for address in row.recipients} if row else set()
    except ValueError:
        log.warning("agent %s reported an invalid address; nothing was suppressed", agent)
        return
    # Anyone can write a bounce: it may only suppress recipients of the message that it reports on.
    is_unmatched = row is None and receipt.message_uid is None and receipt.origin == "verified"
    if key not in reached and not is_unmatched:
        log.warning("agent %s reported an address that its message was not sent to", agent)
        return
    reason = _reason(receipt)
    if not _is_certain(receipt, reached):
        if reason not in {"hard_bounce", "soft_bounce"}:
            log.warning("agent %s: an unverified %s was only recorded", agent, receipt.kind)
            return
        reason = "soft_bounce"
    if reason != "soft_bounce":
        suppression.add(
            connection,
            key,
            reason=reason,
            detail=receipt.code,
            agent=agent,
            message_id=message_id,
            by="postroom",
        )
    elif message_id is not None:
        soft_bounces.record(
            connection, key, message_id=message_id, agent=agent, detail=receipt.code
        )


def _is_certain(receipt: Receipt, reached: Collection[suppression.Key]) -> bool:
    """Return whether a report can be trusted to suppress an address at once.

    The only recipient of a message may forge reports, which concern nobody else. A bounce must
    still have been sent to the message's own return path: ids of messages are quoted in replies.
    """
    if receipt.origin == "verified":
        return True
    return len(reached) == 1 and (receipt.origin == "addressed" or receipt.kind != "bounced")


def _key(channel: Channel, address: str) -> suppression.Key:
    return suppression.key(channel, addresses.normalise(channel, address))


def _reason(receipt: Receipt) -> SuppressionReason:
    if isinstance(receipt.suppress, str):
        return receipt.suppress
    return SUPPRESSION_REASONS.get(receipt.kind, "dead_address")
