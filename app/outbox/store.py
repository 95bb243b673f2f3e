"""Store validated submissions in the outbox."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, DateTime, bindparam, func, insert

from app import conversations
from app.models import Attachment, Message
from app.submission.submission import Submission
from connectors import base

IDEMPOTENCY_WINDOW = timedelta(hours=24)
"""How long the response to a request with an `Idempotency-Key` is stored."""

MESSAGE_COLUMNS = tuple(
    field.name for field in fields(Submission) if field.name not in {"attachments", "send_at"}
)
ATTACHMENT_COLUMNS = tuple(field.name for field in fields(base.Attachment))


@dataclass(frozen=True, slots=True)
class Stored:
    """A message that is in the outbox."""

    id: int
    conversation_id: int


def store(
    connection: Connection, submissions: Sequence[Submission], submitted_by: str
) -> list[Stored]:
    """Insert `submissions` in the transaction of `connection` and return them in the same order.

    `submitted_by` is the name of the API token, or of the operator. A `send_at` in the past is
    dropped.
    """
    if not submissions:
        return []
    keys = [conversations.key(one.channel, one.recipient, one.sender) for one in submissions]
    conversation_ids = conversations.find_or_create(connection, keys)
    rows = [
        _row(submission, MESSAGE_COLUMNS)
        | {
            "conversation_id": conversation_ids[key],
            "submitted_by": submitted_by,
            "reason": "accepted",
            "earliest": submission.send_at,
        }
        for submission, key in zip(submissions, keys, strict=True)
    ]
    earliest = bindparam("earliest", type_=DateTime(timezone=True))
    ids = connection.execute(
        insert(Message)
        .values(
            due_at=func.greatest(func.now(), earliest),
            send_at=func.nullif(func.greatest(func.now(), earliest), func.now()),
        )
        .returning(Message.id, sort_by_parameter_order=True),
        rows,
    ).scalars()
    stored = [Stored(id_, conversation_ids[key]) for id_, key in zip(ids, keys, strict=True)]
    attachments = [
        _row(attachment, ATTACHMENT_COLUMNS) | {"message_id": message.id}
        for message, submission in zip(stored, submissions, strict=True)
        for attachment in submission.attachments
    ]
    if attachments:
        connection.execute(insert(Attachment), attachments)
    return stored


def _row(stored: Submission | base.Attachment, columns: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(stored, name) for name in columns}
