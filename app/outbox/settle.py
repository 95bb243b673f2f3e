"""Settle attempts: sending → sent, retry, failed, unknown, or back to outbox."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, text

from app import soft_bounces
from app.db import storable
from app.outbox import receipts
from app.outbox.claim import Claim
from app.outbox.outcome import Outcome

FIRST_POLL = timedelta(seconds=30)

# An outcome is recorded only under the claim token of its attempt. The exception is an acceptance
# that arrives after its lease expired (`accepted_late`): whatever happened to the message since,
# it was sent, unless a later attempt is sending it again or has succeeded.
SETTLE = text("""
WITH outcome AS (
    SELECT *, status IN ('sent', 'failed', 'unknown') AS is_final
    FROM jsonb_to_recordset(CAST(:outcomes AS jsonb)) AS outcome(
        id bigint, claim_token int, agent text, status text, result text, reason text,
        error_code text, code text, detail text, duration_ms int, wait_seconds float8,
        lease_seconds float8, provider_message_id text, refused jsonb, remaining text[],
        reply text, suppress text, is_polled boolean
    )
), in_time AS (
    UPDATE messages
    SET status = outcome.status, reason = outcome.reason, error_code = outcome.error_code,
        attempts = CASE WHEN outcome.status = 'outbox' THEN attempts - 1 ELSE attempts END,
        due_at = CASE WHEN is_final THEN due_at
            ELSE now() + wait_seconds * interval '1 second' END,
        lease_until = now() + lease_seconds * interval '1 second',
        claim_token = CASE WHEN is_final THEN messages.claim_token
            ELSE messages.claim_token + 1 END,
        sent_at = CASE WHEN outcome.status = 'sent' THEN now() ELSE sent_at END,
        finished_at = CASE WHEN is_final THEN now() END,
        provider_message_id = coalesce(
            outcome.provider_message_id, messages.provider_message_id),
        refused = messages.refused || outcome.refused,
        remaining = CASE WHEN outcome.status <> 'sent'
            THEN coalesce(outcome.remaining, messages.remaining) END
    FROM outcome
    WHERE messages.id = outcome.id AND messages.claim_token = outcome.claim_token
        AND messages.status = 'sending'
    RETURNING messages.id, channel, messages.agent, profile, sender, recipient, subject,
        conversation_id, messages.provider_message_id
), accepted_late AS (
    UPDATE messages
    SET status = 'sent', reason = 'accepted, but reported after its lease', error_code = NULL,
        lease_until = NULL, sent_at = now(), finished_at = now(),
        provider_message_id = outcome.provider_message_id,
        refused = messages.refused || outcome.refused, remaining = NULL
    FROM outcome
    WHERE messages.id = outcome.id AND messages.claim_token > outcome.claim_token
        AND outcome.status = 'sent' AND messages.status IN (
            'outbox', 'queued', 'retry', 'failed', 'unknown', 'cancelled', 'expired')
    RETURNING messages.id, channel, messages.agent, profile, sender, recipient, subject,
        conversation_id, messages.provider_message_id
), settled AS (
    SELECT * FROM in_time UNION ALL SELECT * FROM accepted_late
), new_attempts AS (
    INSERT INTO attempts (message_id, claim_token, agent, outcome, code, detail, duration_ms)
    SELECT id, outcome.claim_token, outcome.agent, result, code, detail, duration_ms
    FROM settled JOIN outcome USING (id)
), new_replies AS (
    INSERT INTO messages (
        direction, status, channel, agent, profile, sender, recipient, subject, body,
        conversation_id, parent_id, reason
    )
    SELECT 'inbound', 'received', channel, settled.agent, profile, recipient,
        coalesce(sender, settled.agent), subject, reply, conversation_id, id,
        'reply of the provider'
    FROM settled JOIN outcome USING (id) WHERE reply IS NOT NULL
), new_suppressions AS (
    INSERT INTO suppressions (
        channel_family, address, reason, detail, agent, message_id, created_by
    )
    SELECT channel_family(channel), address_key(channel, recipient), suppress, code,
        settled.agent, id, 'postroom'
    FROM settled JOIN outcome USING (id) WHERE suppress <> 'soft_bounce'
    ON CONFLICT (channel_family, address, reason) DO NOTHING
), new_polls AS (
    INSERT INTO polls (message_id, agent, due_at)
    SELECT id, settled.agent, now() + CAST(:first_poll AS interval)
    FROM settled JOIN outcome USING (id) WHERE is_polled
    ON CONFLICT (message_id) DO UPDATE SET polls = 0, due_at = excluded.due_at
)
SELECT id,
    EXISTS (SELECT FROM receipts WHERE pending AND message_id = settled.id) OR EXISTS (
        SELECT FROM receipts
        WHERE pending AND receipts.agent = settled.agent
            AND receipts.provider_message_id = settled.provider_message_id
    ) AS has_receipts
FROM settled
""")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt under `claim`: its outcome, its duration, and how long the Celery retry that
    follows may hold the message beyond its wait (None if no Celery retry follows).
    """

    claim: Claim
    outcome: Outcome
    duration: timedelta
    retry_lease: timedelta | None = None


def settle(connection: Connection, attempts: Sequence[Attempt]) -> set[int]:
    """Record `attempts` and return the ids of the messages whose claims still held.

    For the others nothing changes. It is safe to call it again after a lost connection. The
    Celery retry of a message must carry the next claim token.
    """
    outcomes = json.dumps([_row(attempt) for attempt in attempts])
    values = {"outcomes": outcomes, "first_poll": FIRST_POLL}
    rows = connection.execute(SETTLE, values).all()
    for row in rows:
        if row.has_receipts:
            receipts.match(connection, row.id)
    settled = {row.id for row in rows}
    for attempt in attempts:
        message_id = attempt.claim.message_id
        if attempt.outcome.suppress == "soft_bounce" and message_id in settled:
            soft_bounces.record_recipient(connection, message_id, attempt.outcome.code)
    return settled


def _row(attempt: Attempt) -> dict[str, Any]:
    outcome = attempt.outcome
    wait = outcome.wait.total_seconds()
    row = {
        "id": attempt.claim.message_id,
        "claim_token": attempt.claim.token,
        "agent": attempt.claim.agent,
        "status": outcome.status,
        "result": outcome.result,
        "reason": outcome.reason,
        "error_code": None if outcome.status == "sent" else outcome.code,
        "code": outcome.code,
        "detail": outcome.detail,
        "duration_ms": attempt.duration // timedelta(milliseconds=1),
        "wait_seconds": wait,
        "provider_message_id": outcome.provider_message_id,
        "refused": dict(outcome.refused),
        "remaining": outcome.remaining,
        "reply": outcome.reply.body if outcome.reply else None,
        "suppress": outcome.suppress,
        "is_polled": outcome.is_polled,
    }
    if attempt.retry_lease is not None:
        row["lease_seconds"] = wait + attempt.retry_lease.total_seconds()
    return {name: storable(value) for name, value in row.items()}
