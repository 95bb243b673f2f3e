"""queued → sending → what came of it. Each step is one statement and one round trip, and asks
for the claim: whoever holds an older one changes nothing."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

from sqlalchemy import Connection, Row, TextClause, select, text

from app import suppression
from app.attachments.resolve import FETCH_LIMIT
from app.models import Attachment
from app.outbox import receipts
from app.texts import storable
from connectors import base

FIRST_POLL = timedelta(seconds=30)

TAKE = """
UPDATE messages
SET status = 'sending', reason = NULL, attempts = attempts + 1,
    lease_until = now() + interval '1 second' * (:lease + CASE WHEN EXISTS (
        SELECT FROM attachments WHERE message_id = messages.id AND url IS NOT NULL
    ) THEN :fetch_limit ELSE 0 END)
"""

MAY_START = """
WHERE messages.id = :id AND claim = :claim
    AND status IN ('queued', 'retry') AND lease_until IS NOT NULL
    AND due_at <= now() AND (expires_at IS NULL OR expires_at > now())
    AND EXISTS (SELECT FROM scheduler_state WHERE running)
    AND NOT EXISTS (SELECT FROM agent_states WHERE agent_states.agent = messages.agent AND paused)
"""

# One probe of an index for each address that is still to be served.
SUPPRESSED = """
SELECT suppressions.*
FROM unnest(coalesce(remaining, recipient || cc || bcc)) AS served(address)
JOIN suppressions ON suppressions.channel_family = channel_family(messages.channel)
    AND suppressions.address = address_key(messages.channel, served.address)
"""

TELL = """
RETURNING id, CAST(uid AS text) AS uid, channel, agent, profile, sender, recipient, cc, bcc,
    reply_to, subject, body, html, headers, payload, metadata, reference, created_at, remaining,
    attempts, lease_until - now() AS lease,
    EXISTS(SELECT FROM attachments WHERE message_id = messages.id) AS has_attachments
"""

START = text(f"{TAKE} {MAY_START} AND NOT EXISTS ({SUPPRESSED}) {TELL}")

ENTRY_OF = "SELECT entry.* FROM messages CROSS JOIN LATERAL"
FIND_SUPPRESSED = text(f"{ENTRY_OF} ({SUPPRESSED}) AS entry {MAY_START}")


@dataclass(frozen=True, slots=True)
class Started:
    """A message that this process may now send, once, within `lease`. `tries` counts this one
    too."""

    message: base.OutboundMessage
    agent: str
    profile: str
    tries: int
    lease: timedelta


def profile_of(connection: Connection, message_id: int, claim: int) -> str | None:
    """The profile of a message that `claim` may still start, else None."""
    return connection.execute(
        text("""
            SELECT profile FROM messages
            WHERE id = :id AND claim = :claim AND status IN ('queued', 'retry')
                AND lease_until IS NOT NULL
        """),
        {"id": message_id, "claim": claim},
    ).scalar_one_or_none()


def start(connection: Connection, message_id: int, claim: int, lease: timedelta) -> Started | None:
    """Begin to send a message under `claim`, held for `lease`, and where it has files to fetch
    for as long as that may take besides.

    None where it is not for this claim to send: a doubled or late task, or one that was
    cancelled, paused, expired or suppressed meanwhile.
    """
    values = {
        "id": message_id,
        "claim": claim,
        "lease": lease.total_seconds(),
        "fetch_limit": FETCH_LIMIT.total_seconds(),
    }
    row = connection.execute(START, values).one_or_none()
    if row is None:
        return None
    files = _attachments(connection, message_id) if row.has_attachments else ()
    return Started(_message(row, files), row.agent, row.profile, row.attempts, row.lease)


def _attachments(connection: Connection, message_id: int) -> tuple[base.Attachment, ...]:
    rows = connection.execute(
        select(
            Attachment.name,
            Attachment.content_type,
            Attachment.content,
            Attachment.url,
            Attachment.sha256,
        )
        .where(Attachment.message_id == message_id)
        .order_by(Attachment.id)
    )
    return tuple(
        base.Attachment(
            name=row.name,
            content_type=row.content_type,
            content=None if row.content is None else bytes(row.content),
            url=row.url,
            sha256=row.sha256,
        )
        for row in rows
    )


def _message(row: Row[Any], attachments: tuple[base.Attachment, ...]) -> base.OutboundMessage:
    return base.OutboundMessage(
        id=row.id,
        uid=row.uid,
        channel=row.channel,
        recipient=row.recipient,
        sender=row.sender,
        cc=tuple(row.cc),
        bcc=tuple(row.bcc),
        reply_to=row.reply_to,
        subject=row.subject,
        body=row.body,
        html=row.html,
        headers=row.headers,
        payload=row.payload,
        metadata=row.metadata,
        reference=row.reference,
        created_at=row.created_at,
        attachments=attachments,
        remaining=None if row.remaining is None else tuple(row.remaining),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one try came to, and what becomes of the message.

    `status` is the one it takes: sent, retry, failed, unknown, or outbox where the try does not
    count. `wait` is the time until it is due again; with `held` a Celery retry waits for that
    moment, else the scan takes it up. `suppress` says why its recipient must not be written to
    again.
    """

    status: str
    result: str
    code: str | None = None
    detail: str | None = None
    reason: str | None = None
    wait: timedelta = timedelta(0)
    held: timedelta | None = None
    provider_message_id: str | None = None
    refused: Mapping[str, str] | None = None
    remaining: tuple[str, ...] | None = None
    reply: base.Reply | None = None
    suppress: suppression.Reason | None = None
    polled: bool = False


RECORD_ATTEMPT = """
INSERT INTO attempts (message_id, claim, agent, outcome, code, detail, duration_ms)
SELECT id, :claim, :agent, :result, :code, :detail, :duration_ms FROM settled
RETURNING (SELECT settled.said FROM settled)
"""

SETTLED = """
WITH settled AS (
    UPDATE messages
    SET status = :status, reason = :reason, error_code = :error_code,
        attempts = CASE WHEN :status = 'outbox' THEN attempts - 1 ELSE attempts END,
        due_at = CASE WHEN :finished THEN due_at ELSE now() + :wait * interval '1 second' END,
        lease_until = now() + (:wait + CAST(:held AS float8)) * interval '1 second',
        claim = CASE WHEN :finished THEN claim ELSE claim + 1 END,
        sent_at = CASE WHEN :status = 'sent' THEN now() ELSE sent_at END,
        finished_at = CASE WHEN :finished THEN now() END,
        provider_message_id = coalesce(:provider_message_id, provider_message_id),
        refused = refused || CAST(:refused AS jsonb),
        remaining = CASE WHEN :status <> 'sent'
            THEN coalesce(CAST(:remaining AS text[]), remaining) END
    WHERE id = :id AND claim = :claim AND status = 'sending'
"""

# The provider took what had been given up for lost: whatever became of the message since, it has
# been sent, unless somebody is sending it again or a later try has ended well.
SETTLED_LATE = """
WITH settled AS (
    UPDATE messages
    SET status = 'sent', reason = 'accepted, though answered after its lease',
        error_code = NULL, lease_until = NULL, sent_at = now(), finished_at = now(),
        provider_message_id = :provider_message_id, refused = refused || CAST(:refused AS jsonb),
        remaining = NULL
    WHERE id = :id AND claim > :claim
        AND status IN ('outbox', 'queued', 'retry', 'unknown', 'failed', 'cancelled', 'expired')
"""

# With whether the provider has said anything of it before it was settled.
RETURNING = """
    RETURNING id, channel, agent, profile, sender, recipient, subject, conversation_id,
        EXISTS (SELECT FROM receipts WHERE pending AND message_id = messages.id) OR EXISTS (
            SELECT FROM receipts
            WHERE pending AND receipts.agent = messages.agent
                AND receipts.provider_message_id = messages.provider_message_id
        ) AS said
)"""

KEEP_REPLY = """, kept AS (
    INSERT INTO messages (
        direction, status, channel, agent, profile, sender, recipient, subject, body,
        conversation_id, parent_id, reason
    )
    SELECT 'inbound', 'received', channel, agent, profile, recipient, coalesce(sender, agent),
        subject, :reply, conversation_id, id, 'the reply of the provider'
    FROM settled
)"""

SUPPRESS = """, suppressed AS (
    INSERT INTO suppressions (
        channel_family, address, reason, detail, agent, message_id, created_by
    )
    SELECT channel_family(channel), address_key(channel, recipient), :suppress, :code, agent, id,
        'postroom'
    FROM settled
    ON CONFLICT (channel_family, address) DO NOTHING
)"""

WATCH = """, watched AS (
    INSERT INTO polls (message_id, agent, due_at)
    SELECT id, agent, now() + CAST(:first_poll AS interval) FROM settled
    ON CONFLICT (message_id) DO UPDATE SET polls = 0, due_at = excluded.due_at
)"""


@cache
def _settling(settled: str, *further: str) -> TextClause:
    return text("".join([settled, RETURNING, *further, RECORD_ATTEMPT]))


def settle(
    connection: Connection, started: Started, claim: int, outcome: Outcome, duration: timedelta
) -> bool:
    """Record `outcome` of a try that took `duration`. Returns whether it was still ours to
    record, or could be made good; where not, nothing is changed.

    Repeating it after a broken connection is safe. The Celery retry of a `held` message must
    carry the next claim, `claim + 1`.
    """
    values = {
        "id": started.message.id,
        "claim": claim,
        "agent": started.agent,
        "status": outcome.status,
        "reason": storable(outcome.reason),
        "error_code": None if outcome.status == "sent" else outcome.code,
        "finished": outcome.status in {"sent", "failed", "unknown"},
        "wait": outcome.wait.total_seconds(),
        "held": None if outcome.held is None else outcome.held.total_seconds(),
        "provider_message_id": storable(outcome.provider_message_id),
        "refused": json.dumps(storable(outcome.refused or {})),
        "remaining": None if outcome.remaining is None else list(outcome.remaining),
        "result": outcome.result,
        "code": storable(outcome.code),
        "detail": storable(outcome.detail),
        "duration_ms": duration // timedelta(milliseconds=1),
        "reply": storable(outcome.reply.body if outcome.reply else None),
        "suppress": outcome.suppress,
        "first_poll": FIRST_POLL,
    }
    further = [
        part
        for part, wanted in (
            (KEEP_REPLY, outcome.reply),
            (SUPPRESS, outcome.suppress),
            (WATCH, outcome.polled),
        )
        if wanted
    ]
    said = connection.execute(_settling(SETTLED, *further), values).scalar_one_or_none()
    if said is None and outcome.status == "sent":
        said = connection.execute(_settling(SETTLED_LATE, *further), values).scalar_one_or_none()
    if said:
        receipts.match(connection, started.message.id)
    return said is not None


def release(
    connection: Connection, message_id: int, claim: int, wait: timedelta, reason: str
) -> None:
    """Put a queued message back that may not be sent before `wait` is over. No try is counted."""
    connection.execute(
        text("""
            UPDATE messages
            SET status = CASE WHEN attempts = 0 THEN 'outbox' ELSE 'retry' END,
                reason = :reason, lease_until = NULL, claim = claim + 1,
                due_at = now() + :wait * interval '1 second'
            WHERE id = :id AND claim = :claim AND status IN ('queued', 'retry')
                AND lease_until IS NOT NULL
        """),
        {"id": message_id, "claim": claim, "wait": wait.total_seconds(), "reason": reason},
    )


def refuse(connection: Connection, message_id: int, claim: int, code: str, reason: str) -> None:
    """Fail a queued message that may not be sent at all. No try is counted."""
    connection.execute(
        text("""
            UPDATE messages
            SET status = 'failed', error_code = :code, reason = :reason, lease_until = NULL,
                finished_at = now()
            WHERE id = :id AND claim = :claim AND status IN ('queued', 'retry')
                AND lease_until IS NOT NULL
        """),
        {"id": message_id, "claim": claim, "code": code, "reason": reason},
    )


def refuse_suppressed(connection: Connection, message_id: int, claim: int) -> bool:
    """Fail a queued message that could be started but for the suppression list. Returns whether
    it is one. No try is counted."""
    row = connection.execute(FIND_SUPPRESSED, {"id": message_id, "claim": claim}).first()
    if row is None:
        return False
    reason = str(suppression.Entry.of(row))
    refuse(connection, message_id, claim, suppression.ERROR_CODE, reason)
    return True
