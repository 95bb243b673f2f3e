"""Start claimed messages: queued → sending."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, select, text

from app import suppression
from app.attachments.resolve import FETCH_TIMEOUT
from app.models import Attachment
from app.outbox.claim import Claim
from connectors import base

START = text("""
UPDATE messages
SET status = 'sending', reason = NULL, attempts = attempts + 1,
    lease_until = now() + interval '1 second' * (:lease + CASE WHEN EXISTS (
        SELECT FROM attachments WHERE message_id = messages.id AND url IS NOT NULL
    ) THEN :fetch_limit ELSE 0 END)
FROM unnest(CAST(:ids AS bigint[]), CAST(:tokens AS int[])) AS claim(id, token)
WHERE messages.id = claim.id AND messages.claim_token = claim.token
    AND status IN ('queued', 'retry') AND lease_until IS NOT NULL
    AND due_at <= now() AND (expires_at IS NULL OR expires_at > now())
    AND EXISTS (SELECT FROM scheduler_state WHERE running)
    AND NOT EXISTS (SELECT FROM agent_states WHERE agent_states.agent = messages.agent AND paused)
    AND NOT EXISTS (
        SELECT FROM find_suppressions(channel, coalesce(remaining, recipient || cc || bcc))
    )
RETURNING messages.id, CAST(uid AS text) AS uid, channel, agent, profile, sender, recipient, cc,
    bcc, reply_to, subject, body, html, headers, payload, metadata, reference, created_at,
    remaining, attempts, losses, claim_token, lease_until - now() AS lease,
    EXISTS (SELECT FROM attachments WHERE message_id = messages.id) AS has_attachments
""")

FIND_SUPPRESSED = text("""
SELECT messages.id AS suppressed_id, entry.*
FROM unnest(CAST(:ids AS bigint[]), CAST(:tokens AS int[])) AS claim(id, token)
JOIN messages ON messages.id = claim.id AND messages.claim_token = claim.token
    AND status IN ('queued', 'retry') AND lease_until IS NOT NULL
CROSS JOIN LATERAL (
    SELECT * FROM find_suppressions(channel, coalesce(remaining, recipient || cc || bcc))
    ORDER BY array_position(CAST(:reasons AS text[]), reason)
    LIMIT 1
) AS entry
""")

REJECT = text("""
UPDATE messages
SET status = 'failed', error_code = :error_code, reason = :reason, lease_until = NULL,
    finished_at = now()
WHERE id = :id AND claim_token = :token AND status IN ('queued', 'retry')
    AND lease_until IS NOT NULL
""")

FIND_PROFILE = text("""
SELECT profile FROM messages
WHERE id = :id AND claim_token = :token AND status IN ('queued', 'retry')
    AND lease_until IS NOT NULL
""")

MESSAGE_FIELDS = tuple(
    field.name for field in fields(base.OutboundMessage) if field.name != "attachments"
)
ATTACHMENT_FIELDS = tuple(field.name for field in fields(base.Attachment))


@dataclass(frozen=True, slots=True)
class Started:
    """A message that this process may send once, within `lease`.

    `attempt` counts from 1; `losses` counts the workers that were lost while they sent it.
    """

    message: base.OutboundMessage
    claim: Claim
    profile: str
    attempt: int
    losses: int
    lease: timedelta


def start(connection: Connection, claims: Sequence[Claim], lease: timedelta) -> list[Started]:
    """Start the messages of `claims` and return those that may be sent now.

    A message is left out if its claim is stale, or if it was cancelled, paused, expired or
    suppressed in the meantime. `lease` is extended for messages with attachments to fetch.
    """
    rows = connection.execute(
        START,
        {
            **_keys(claims),
            "lease": lease.total_seconds(),
            "fetch_limit": FETCH_TIMEOUT.total_seconds(),
        },
    ).all()
    attachments = _attachments(connection, [row.id for row in rows if row.has_attachments])
    return [
        Started(
            message=_message(row, attachments.get(row.id, ())),
            claim=Claim(row.id, row.agent, row.claim_token),
            profile=row.profile,
            attempt=row.attempts,
            losses=row.losses,
            lease=row.lease,
        )
        for row in rows
    ]


def reject_suppressed(connection: Connection, claims: Sequence[Claim]) -> set[int]:
    """Fail the messages of `claims` that have a suppressed recipient and return their ids.

    No attempt is counted.
    """
    tokens = {claim.message_id: claim for claim in claims}
    found = connection.execute(
        FIND_SUPPRESSED, {**_keys(claims), "reasons": [*suppression.STRENGTH]}
    ).all()
    for row in found:
        entry = suppression.Entry.of(row)
        reject(connection, tokens[row.suppressed_id], suppression.ERROR_CODE, str(entry))
    return {row.suppressed_id for row in found}


def reject(connection: Connection, claim: Claim, error_code: str, reason: str) -> None:
    """Fail a claimed message that must not be sent. No attempt is counted."""
    connection.execute(
        REJECT,
        {
            "id": claim.message_id,
            "token": claim.token,
            "error_code": error_code,
            "reason": reason,
        },
    )


def find_profile(connection: Connection, claim: Claim) -> str | None:
    """Return the profile of a claimed message; None if the claim is stale."""
    values = {"id": claim.message_id, "token": claim.token}
    return connection.execute(FIND_PROFILE, values).scalar_one_or_none()


def _keys(claims: Sequence[Claim]) -> dict[str, list[int]]:
    return {
        "ids": [claim.message_id for claim in claims],
        "tokens": [claim.token for claim in claims],
    }


def _attachments(
    connection: Connection, message_ids: Sequence[int]
) -> Mapping[int, tuple[base.Attachment, ...]]:
    if not message_ids:
        return {}
    columns = [getattr(Attachment, name) for name in ATTACHMENT_FIELDS]
    rows = connection.execute(
        select(Attachment.message_id, *columns)
        .where(Attachment.message_id.in_(message_ids))
        .order_by(Attachment.id)
    )
    found: dict[int, tuple[base.Attachment, ...]] = {}
    for row in rows:
        values = {name: getattr(row, name) for name in ATTACHMENT_FIELDS}
        if row.content is not None:
            values["content"] = bytes(row.content)
        found[row.message_id] = (*found.get(row.message_id, ()), base.Attachment(**values))
    return found


def _message(row: Row[Any], attachments: tuple[base.Attachment, ...]) -> base.OutboundMessage:
    values = {name: getattr(row, name) for name in MESSAGE_FIELDS}
    for name in ("cc", "bcc", "remaining"):
        values[name] = None if values[name] is None else tuple(values[name])
    return base.OutboundMessage(**values, attachments=attachments)
