"""What the API tells of messages."""

import uuid
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field, JsonValue

from connectors.base import Channel

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


class AttachmentView(BaseModel):
    """A file, without its bytes."""

    filename: str
    content_type: str
    size_bytes: int | None = Field(description="null where it is an address")
    url: str | None


class MessageDetail(MessageSummary):
    """Everything about a message."""

    uid: uuid.UUID = Field(description="the same for every try, and known to the provider")
    subject: str | None
    body: str
    html: str | None
    cc: list[str]
    bcc: list[str]
    reply_to: str | None
    headers: dict[str, str]
    payload: JsonValue
    metadata: dict[str, JsonValue]
    refused: dict[str, JsonValue] = Field(description="recipients refused for good, and why")
    attachments: list[AttachmentView]
    events: list[EventView]
    attempts: list[AttemptView]
    replies: list[MessageSummary] = Field(description="inbound messages that answer this one")
