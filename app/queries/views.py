"""What the API tells of messages."""

import uuid
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field, JsonValue

from connectors.base import Channel, ReceiptKind

Direction = Literal["outbound", "inbound"]
Status = Literal[
    "outbox",
    "queued",
    "sending",
    "retry",
    "sent",
    "delivered",
    "bounced",
    "failed",
    "unknown",
    "cancelled",
    "expired",
    "received",
]


class MessageSummary(BaseModel):
    """A message without its content."""

    id: int
    direction: Direction
    channel: Channel
    agent: str | None
    profile: str
    status: Status
    reason: str | None = Field(description="of the last change of its status")
    priority: int
    from_: str | None = Field(alias="from")
    to: str
    reference: str | None
    submitted_by: str | None = Field(description="the name of the token")
    conversation_id: int | None
    parent_id: int | None = Field(description="the message that this one answers")
    created_at: datetime
    due_at: datetime
    expires_at: datetime | None
    sent_at: datetime | None
    finished_at: datetime | None
    tries: int = Field(description="since it was accepted or replayed")
    provider_message_id: str | None
    error_code: str | None


class MessagePage(BaseModel):
    """Messages, newest first."""

    messages: list[MessageSummary]
    next_cursor: str | None = Field(description="null at the end")


class EventView(BaseModel):
    """A change of status."""

    from_status: Status | None
    to_status: Status
    reason: str | None
    happened_at: datetime


class AttemptView(BaseModel):
    """One call to the provider."""

    agent: str
    outcome: Literal["accepted", "unavailable", "rejected", "uncertain", "misconfigured"]
    code: str | None
    detail: str | None
    duration_ms: int | None = Field(description="null where its worker was lost")
    finished_at: datetime


class ReceiptView(BaseModel):
    """What the provider said of a message that it took."""

    kind: ReceiptKind
    code: str | None = Field(description="the provider's")
    detail: str | None
    recipient: str | None
    provider_message_id: str | None
    occurred_at: datetime | None = Field(description="as the provider says")
    received_at: datetime


class AttachmentView(BaseModel):
    """A file, without its bytes."""

    id: int
    filename: str
    content_type: str
    size_bytes: int | None = Field(description="null where it is an address")
    url: str | None
    sha256: str | None = Field(description="as it was given")


class MessageDetail(MessageSummary):
    """Everything about a message."""

    uid: uuid.UUID = Field(description="the same for every try, and known to the provider")
    subject: str | None
    body: str
    html: str | None
    cc: list[str]
    bcc: list[str]
    reply_to: str | None
    headers: dict[str, JsonValue]
    payload: JsonValue
    metadata: dict[str, JsonValue]
    refused: dict[str, JsonValue] = Field(description="recipients refused for good, and why")
    attachments: list[AttachmentView]
    events: list[EventView]
    attempts: list[AttemptView]
    receipts: list[ReceiptView]
    replies: list[MessageSummary] = Field(description="inbound messages that answer this one")


class LastMessage(BaseModel):
    """The newest message of a conversation, in brief."""

    id: int
    direction: Direction
    channel: Channel
    status: Status
    from_: str | None = Field(alias="from")
    to: str
    subject: str | None
    preview: str = Field(description="the beginning of its body")
    created_at: datetime


class ConversationView(BaseModel):
    """Messages between the same participants."""

    id: int
    channel_family: str = Field(description="the channel; of sms and mms `phone`")
    participants: list[str] = Field(description="e-mail addresses in lower case")
    created_at: datetime
    message_count: int
    unread_count: int = Field(description="inbound messages that were not marked as read")
    last_message: LastMessage | None = Field(description="null once all have been deleted")


class ConversationPage(BaseModel):
    """Conversations, the one with the newest message first."""

    conversations: list[ConversationView]
    next_cursor: str | None = Field(description="null at the end")


class ConversationMessage(MessageSummary):
    """A message as a conversation shows it; the rest of it is at `/api/messages/{id}`."""

    subject: str | None
    body: str = Field(description="its first 65,536 characters")
    attachments: list[AttachmentView]


class ConversationMessagePage(BaseModel):
    """Messages of a conversation, in both directions."""

    messages: list[ConversationMessage]
    next_cursor: str | None = Field(description="null at the end")
