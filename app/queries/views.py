"""Views of messages and conversations, which queries return.

The fields of a view are the columns that its query selects. They have the names of the columns;
aliases are the names in HTTP.
"""

import uuid
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field, JsonValue
from sqlalchemy import ColumnElement, inspect

from app.outbox.states import AttemptOutcome, Direction, Status
from connectors.base import Channel, ReceiptKind


def columns(
    view: type[BaseModel], table: Any, **expressions: ColumnElement[Any]
) -> list[ColumnElement[Any]]:
    """Return what to select from `table`, a model or an alias of one, for the fields of `view`.

    Fields that are neither columns of the table nor in `expressions` are left out.
    """
    stored = inspect(table).mapper.column_attrs.keys()
    return [
        (expressions[name] if name in expressions else getattr(table, name)).label(name)
        for name in view.model_fields
        if name in expressions or name in stored
    ]


class MessageSummary(BaseModel):
    """A message without its content."""

    id: int
    direction: Direction
    channel: Channel
    agent: str | None = Field(description="`null` until an agent has been chosen.")
    profile: str
    status: Status
    reason: str | None = Field(description="The reason for the status.")
    priority: int = Field(description="0 (immediate) to 3 (low).")
    sender: str | None = Field(serialization_alias="from")
    recipient: str = Field(serialization_alias="to")
    reference: str | None
    submitted_by: str | None = Field(description="The name of the token.")
    conversation_id: int | None
    parent_id: int | None = Field(description="The message that this one replies to.")
    created_at: datetime
    send_at: datetime | None = Field(description="The earliest time to send, as submitted.")
    due_at: datetime = Field(description="When the next attempt is due.")
    expires_at: datetime | None
    sent_at: datetime | None
    finished_at: datetime | None
    attempts: int = Field(description="Attempts since the message was accepted or replayed.")
    provider_message_id: str | None
    error_code: str | None


class MessagePage(BaseModel):
    """A page of messages, newest first."""

    messages: list[MessageSummary]
    next_cursor: str | None = Field(description="`null` on the last page.")


class EventView(BaseModel):
    """A change of status."""

    from_status: Status | None
    to_status: Status
    reason: str | None
    happened_at: datetime


class AttemptView(BaseModel):
    """An attempt to send."""

    agent: str
    outcome: AttemptOutcome
    code: str | None = Field(description="The provider's code.")
    detail: str | None
    duration_ms: int | None = Field(description="`null` if the worker was lost.")
    finished_at: datetime


class ReceiptView(BaseModel):
    """A report by the provider about a message that it accepted."""

    kind: ReceiptKind
    code: str | None = Field(description="The provider's code.")
    detail: str | None
    recipient: str | None = Field(serialization_alias="to")
    provider_message_id: str | None
    occurred_at: datetime | None = Field(description="According to the provider.")
    received_at: datetime


class AttachmentView(BaseModel):
    """An attachment without its content."""

    id: int
    name: str = Field(serialization_alias="filename")
    content_type: str
    size_bytes: int | None = Field(description="`null` for a link.")
    url: str | None = Field(description="The address to download from; `null` for content.")
    sha256: str | None = Field(description="As submitted.")


class MessageDetail(MessageSummary):
    """A message with its content and its history."""

    uid: uuid.UUID = Field(
        description="Identifies the message to its provider, the same for every attempt."
    )
    subject: str | None
    body: str
    html: str | None
    cc: list[str]
    bcc: list[str]
    reply_to: str | None
    headers: dict[str, JsonValue]
    payload: JsonValue
    metadata_: dict[str, JsonValue] = Field(serialization_alias="metadata")
    refused: dict[str, JsonValue] = Field(
        description="The recipients that were rejected permanently, each with the reason."
    )
    attachments: list[AttachmentView]
    events: list[EventView] = Field(description="Every change of status, oldest first.")
    attempt_log: list[AttemptView] = Field(
        description="Every attempt, oldest first, including those before a replay."
    )
    receipts: list[ReceiptView]
    replies: list[MessageSummary] = Field(description="Inbound messages that reply to this one.")


class LastMessage(BaseModel):
    """The most recent message of a conversation."""

    id: int
    direction: Direction
    channel: Channel
    status: Status
    sender: str | None = Field(serialization_alias="from")
    recipient: str = Field(serialization_alias="to")
    subject: str | None
    preview: str = Field(description="The beginning of the body.")
    created_at: datetime


class ConversationView(BaseModel):
    """The messages between the same participants."""

    id: int
    channel_family: str = Field(description="The channel; `phone` for SMS and MMS.")
    participants: list[str] = Field(description="E-mail addresses are in lower case.")
    created_at: datetime
    message_count: int
    unread_count: int = Field(description="Inbound messages that are not marked as read.")
    last_message: LastMessage | None = Field(description="`null` if all have been deleted.")


class ConversationPage(BaseModel):
    """A page of conversations, most recent message first."""

    conversations: list[ConversationView]
    next_cursor: str | None = Field(description="`null` on the last page.")


class ConversationMessage(MessageSummary):
    """A message of a conversation. Get `/api/messages/{id}` for the rest."""

    subject: str | None
    body: str = Field(description="The first 65,536 characters.")
    attachments: list[AttachmentView]


class ConversationMessagePage(BaseModel):
    """A page of messages of a conversation, in both directions."""

    messages: list[ConversationMessage]
    next_cursor: str | None = Field(description="`null` on the last page.")
