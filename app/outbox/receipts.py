"""What providers say of the messages they took: kept once, matched, applied forward only.

A receipt stays `pending` while its message is not known by its provider's id yet, or is still on
its way. The status of a message is worked out anew from all its receipts each time, so neither
their order nor their repetition matters. Those of an earlier sending, before a replay, count no
more; nor do those for another recipient than the message's own.
"""

import json
import logging
from collections.abc import Collection, Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection, text

from app import addresses, suppression
from app.texts import storable
from connectors.base import Channel, Receipt

log = logging.getLogger(__name__)

WAIT_FOR_MESSAGE = timedelta(hours=1)
MATCH_AT_ONCE = 1000

KEEP = text("""
INSERT INTO receipts (
    agent, key, kind, message_id, message_uid, provider_message_id, recipient, code, detail,
    payload, occurred_at
)
SELECT :agent, said.key, said.kind,
    coalesce(
        (SELECT id FROM messages
         WHERE uid = said.message_uid AND agent = :agent AND direction = 'outbound'),
        (SELECT id FROM messages
         WHERE provider_message_id = said.provider_message_id AND agent = :agent
            AND direction = 'outbound'
         ORDER BY id DESC LIMIT 1)
    ),
    said.message_uid, said.provider_message_id, said.recipient, said.code, said.detail,
    coalesce(said.payload, '{}'), said.occurred_at
FROM jsonb_to_recordset(CAST(:receipts AS jsonb)) AS said(
    key text, kind text, message_uid uuid, provider_message_id text, recipient text, code text,
    detail text, payload jsonb, occurred_at timestamptz
)
ON CONFLICT (agent, key) DO NOTHING
RETURNING key, message_id
""")

# Of e-mail the last word is a bounce, since those may come days after a delivery. A handset that
# has the message has it.
APPLY = text("""
WITH said AS (
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
    SET status = said.kind,
        reason = concat_ws(': ', 'the provider reports it as ' || said.kind, said.detail),
        error_code = CASE WHEN said.kind IN ('failed', 'bounced') THEN said.code END,
        claim = CASE WHEN messages.status = 'retry' THEN claim + 1 ELSE claim END,
        lease_until = NULL,
        sent_at = coalesce(sent_at, said.occurred_at, now()),
        finished_at = coalesce(finished_at, now())
    FROM said
    WHERE messages.id = said.id AND messages.status <> said.kind
        AND (status IN ('sent', 'delivered', 'bounced', 'failed', 'unknown')
            OR status = 'retry' AND remaining IS NULL)
    RETURNING messages.id, messages.status
), answered AS (
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
WHERE pending AND receipts.message_id IS NULL AND received_at > now() - CAST(:wait AS interval)
    AND messages.agent = receipts.agent AND messages.direction = 'outbound'
    AND messages.provider_message_id = receipts.provider_message_id
    AND (CAST(:message_id AS bigint) IS NULL OR messages.id = :message_id)
""")

PENDING = text("""
SELECT DISTINCT message_id FROM receipts
WHERE pending AND message_id IS NOT NULL
LIMIT :at_once
""")

SUPPRESSION_REASONS: dict[str, suppression.Reason] = {
    "bounced": "hard_bounce",
    "complained": "complaint",
    "unsubscribed": "opt_out",
}


def keep(connection: Connection, agent: str, receipts: Sequence[Receipt], channel: Channel) -> int:
    """Keep what the provider of `agent` says, and apply what can be applied now; returns how many
    receipts were new. `channel` is that of receipts whose message is not known."""
    kept = connection.execute(KEEP, {"agent": agent, "receipts": _rows(receipts)}).all()
    message_ids = {row.key: row.message_id for row in kept}
    apply(connection, {found for found in message_ids.values() if found is not None})
    for receipt in receipts:
        if receipt.suppress and receipt.key in message_ids:
            _suppress(connection, agent, receipt, message_ids[receipt.key], channel)
    return len(kept)


def apply(connection: Connection, message_ids: Collection[int]) -> None:
    """Bring these messages to where all their receipts say they are."""
    if message_ids:
        connection.execute(APPLY, {"ids": list(message_ids)})


def match(connection: Connection, message_id: int) -> None:
    """Apply what was said of a message before we knew its provider's id, or that it was sent."""
    connection.execute(MATCH, {"wait": WAIT_FOR_MESSAGE, "message_id": message_id})
    apply(connection, [message_id])


def match_all(connection: Connection) -> None:
    """As `match`, for the receipts that came at the very moment when their message was settled."""
    connection.execute(MATCH, {"wait": WAIT_FOR_MESSAGE, "message_id": None})
    waiting = connection.execute(PENDING, {"at_once": MATCH_AT_ONCE}).scalars().all()
    apply(connection, waiting)


def forget(connection: Connection, older_than: timedelta) -> int:
    """Delete receipts that never found their message, up to 1,000 at once; returns how many."""
    return connection.execute(
        text("""
            DELETE FROM receipts WHERE id = ANY(ARRAY(
                SELECT id FROM receipts
                WHERE message_id IS NULL AND received_at < now() - CAST(:older_than AS interval)
                LIMIT :at_once
            ))
        """),
        {"older_than": older_than, "at_once": MATCH_AT_ONCE},
    ).rowcount


def _rows(receipts: Sequence[Receipt]) -> str:
    return json.dumps(
        [
            {
                **{
                    name: storable(getattr(receipt, name))
                    for name in ("key", "kind", "provider_message_id", "recipient", "code")
                },
                "message_uid": _uid(receipt.message_uid),
                "detail": storable(receipt.detail),
                "payload": storable(receipt.payload),
                "occurred_at": receipt.occurred_at and receipt.occurred_at.isoformat(),
            }
            for receipt in receipts
        ]
    )


def _uid(text: str | None) -> str | None:
    """What comes back as our own id may have been garbled on its way."""
    try:
        return text and str(UUID(text))
    except ValueError:
        return None


def _key(channel: Channel, address: str) -> suppression.Key:
    return suppression.key(channel, addresses.normalise(channel, address))


def _reason(receipt: Receipt) -> suppression.Reason:
    if isinstance(receipt.suppress, str):
        return receipt.suppress
    return SUPPRESSION_REASONS.get(receipt.kind, "dead_address")


def _suppress(
    connection: Connection, agent: str, receipt: Receipt, message_id: int | None, channel: Channel
) -> None:
    row = connection.execute(
        text(
            "SELECT channel, recipient, recipient || cc || bcc AS all FROM messages WHERE id = :id"
        ),
        {"id": message_id},
    ).one_or_none()
    if row is not None:
        channel = row.channel
    try:
        key = _key(channel, receipt.recipient or (row.recipient if row else ""))
        reached = {_key(channel, one) for one in row.all} if row else set()
    except ValueError:
        log.warning("agent %s reports an address that is none; nothing is suppressed", agent)
        return
    # A bounce by mail is signed by nobody: it may speak only of those whom we wrote to.
    if (row is not None or receipt.message_uid is not None) and key not in reached:
        log.warning("agent %s reports an address that its message did not go to", agent)
        return
    suppression.add(
        connection,
        key,
        reason=_reason(receipt),
        detail=receipt.code,
        agent=agent,
        message_id=message_id,
        by="postroom",
    )
