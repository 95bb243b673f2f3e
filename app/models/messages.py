"""Messages, their attachments, and what has happened to them.

Constraints and defaults live in the database, so that an INSERT of channel, recipient and body is
a complete message. The trigger that records events and notifies workers is in the first migration.
"""

import uuid
from datetime import datetime
from typing import Any, get_args

from sqlalchemy import (
    JSON,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, one_of
from app.outbox.states import ATTEMPT_OUTCOMES, CANCELLABLE, FAILED, OUTBOUND_STATUSES
from connectors.base import Channel

CHANNELS: tuple[Channel, ...] = get_args(Channel)
PRIORITIES = {"immediate": 0, "high": 1, "medium": 2, "low": 3}

TIMESTAMPS = (
    "created_at",
    "send_at",
    "due_at",
    "expires_at",
    "lease_until",
    "sent_at",
    "finished_at",
)
"""Columns of a message whose values must be representable everywhere, unlike infinity."""


class Conversation(Base):
    """Messages between the same participants on the same family of channels."""

    __tablename__ = "conversations"
    __table_args__ = (
        UniqueConstraint("channel_family", "participants"),
        Index("conversations_participants", "participants", postgresql_using="gin"),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    channel_family: Mapped[str]
    participants: Mapped[list[str]] = mapped_column(doc="sorted, normalised, distinct")
    read_up_to: Mapped[int] = mapped_column(
        server_default="0", doc="id of the last message marked as read"
    )
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Message(Base):
    """One message, outbound or inbound.

    `lease_until` is set while the message is in flight: a task in the broker, a worker that sends
    it, or a waiting Celery retry. A message is due when it is waiting, not in flight, and `due_at`
    has passed. `claim_token` is a fencing token: it increases with each claim, and every change of
    a claimed message must name the current token.
    """

    __tablename__ = "messages"
    __table_args__ = (
        CheckConstraint("direction IN ('outbound', 'inbound')", name="direction"),
        CheckConstraint(one_of("channel", CHANNELS), name="channel"),
        CheckConstraint("priority BETWEEN 0 AND 3", name="priority"),
        CheckConstraint("recipient <> ''", name="recipient"),
        CheckConstraint(
            f"CASE direction WHEN 'inbound' THEN status = 'received'"
            f" ELSE {one_of('status', OUTBOUND_STATUSES)} END",
            name="status",
        ),
        CheckConstraint(
            "CASE WHEN status IN ('queued', 'sending') THEN lease_until IS NOT NULL"
            " WHEN status = 'retry' THEN true ELSE lease_until IS NULL END",
            name="lease",
        ),
        CheckConstraint("claim_token BETWEEN 0 AND 1000000000", name="claim_token"),
        CheckConstraint("attempts BETWEEN 0 AND 1000000", name="attempts"),
        CheckConstraint(
            " AND ".join(
                f"{column} >= '1970-01-01+00' AND {column} < '2200-01-01+00'"
                for column in TIMESTAMPS
            ),
            name="timestamps",
        ),
        CheckConstraint(
            "jsonb_typeof(headers) = 'object' AND jsonb_typeof(metadata) = 'object'"
            " AND jsonb_typeof(refused) = 'object'",
            name="objects",
        ),
        CheckConstraint(
            "coalesce(array_ndims(cc), 1) = 1 AND array_position(cc, NULL) IS NULL"
            " AND coalesce(array_ndims(bcc), 1) = 1 AND array_position(bcc, NULL) IS NULL",
            name="copies",
        ),
        Index(
            "messages_due",
            "agent",
            "priority",
            "due_at",
            "id",
            postgresql_where=text("status IN ('outbox', 'retry') AND lease_until IS NULL"),
        ),
        Index(
            "messages_unrouted",
            "id",
            postgresql_where=text(
                "status = 'outbox' AND (agent IS NULL OR conversation_id IS NULL)"
            ),
        ),
        Index(
            "messages_in_flight",
            "lease_until",
            "agent",
            postgresql_where=text("lease_until IS NOT NULL"),
        ),
        Index(
            "messages_expiring",
            "expires_at",
            postgresql_where=text(
                f"expires_at IS NOT NULL AND {one_of('status', sorted(CANCELLABLE))}"
            ),
        ),
        Index(
            "messages_failed",
            "id",
            postgresql_where=text(one_of("status", sorted(FAILED))),
        ),
        Index("messages_finished", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
        Index("messages_recipient", "recipient", "id"),
        Index("messages_conversation", "conversation_id", "id"),
        Index("messages_reference", "reference", postgresql_where=text("reference IS NOT NULL")),
        Index("messages_parent", "parent_id", postgresql_where=text("parent_id IS NOT NULL")),
        Index(
            "messages_inbound",
            "conversation_id",
            "id",
            postgresql_where=text("direction = 'inbound'"),
        ),
        Index("messages_uid", "uid", unique=True),
        Index(
            "messages_provider_message_id",
            "provider_message_id",
            "agent",
            postgresql_where=text("provider_message_id IS NOT NULL"),
        ),
        Index(
            "messages_inbound_key",
            text("coalesce(agent, '')"),
            "inbound_key",
            unique=True,
            postgresql_where=text("inbound_key IS NOT NULL"),
        ),
        {
            "postgresql_with": {
                "fillfactor": "80",
                "autovacuum_vacuum_scale_factor": "0.02",
                "autovacuum_vacuum_insert_scale_factor": "0.05",
            }
        },
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    uid: Mapped[uuid.UUID] = mapped_column(Uuid, server_default=func.gen_random_uuid())
    direction: Mapped[str] = mapped_column(server_default="outbound")
    channel: Mapped[str]
    agent: Mapped[str | None]
    profile: Mapped[str] = mapped_column(server_default="default")
    status: Mapped[str] = mapped_column(server_default="outbox")
    reason: Mapped[str | None] = mapped_column(doc="the reason for this status")
    priority: Mapped[int] = mapped_column(SmallInteger, server_default="2")
    sender: Mapped[str | None]
    recipient: Mapped[str]
    cc: Mapped[list[str]] = mapped_column(server_default="{}")
    bcc: Mapped[list[str]] = mapped_column(server_default="{}")
    reply_to: Mapped[str | None]
    subject: Mapped[str | None]
    body: Mapped[str] = mapped_column(server_default="")
    html: Mapped[str | None]
    headers: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    payload: Mapped[Any | None] = mapped_column(JSON(none_as_null=True))
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", server_default="{}")
    reference: Mapped[str | None]
    submitted_by: Mapped[str | None] = mapped_column(doc="name of the token or operator")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    send_at: Mapped[datetime | None] = mapped_column(doc="the earliest time the caller asked for")
    due_at: Mapped[datetime] = mapped_column(
        server_default=func.now(), doc="when the next attempt is due"
    )
    expires_at: Mapped[datetime | None]
    claim_token: Mapped[int] = mapped_column(Integer, server_default="0")
    lease_until: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(
        Integer, server_default="0", doc="attempts since the message was accepted or replayed"
    )
    losses: Mapped[int] = mapped_column(
        SmallInteger, server_default="0", doc="workers lost while they sent the message"
    )
    remaining: Mapped[list[str] | None] = mapped_column(
        doc="recipients that remain after an attempt that reached only some"
    )
    refused: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    provider_message_id: Mapped[str | None]
    error_code: Mapped[str | None]
    sent_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None] = mapped_column(doc="when Postroom had nothing left to do")
    inbound_key: Mapped[str | None] = mapped_column(doc="identifies repeats of an inbound message")
    conversation_id: Mapped[int | None] = mapped_column(ForeignKey("conversations.id"))
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("messages.id", ondelete="CASCADE"))


class Attachment(Base):
    """An attachment, by its content or by the URL to fetch it from."""

    __tablename__ = "attachments"
    __table_args__ = (
        CheckConstraint("(content IS NULL) <> (url IS NULL)", name="source"),
        CheckConstraint("sha256 ~* '^[0-9a-f]{64}$'", name="sha256"),
        Index("attachments_message", "message_id"),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    message_id: Mapped[int] = mapped_column(ForeignKey("messages.id", ondelete="CASCADE"))
    name: Mapped[str]
    content_type: Mapped[str] = mapped_column(server_default="application/octet-stream")
    content: Mapped[bytes | None] = mapped_column(LargeBinary)
    url: Mapped[str | None] = mapped_column(doc="http://, https:// or s3://bucket/key")
    sha256: Mapped[str | None] = mapped_column(doc="of the content, hexadecimal")


class Attempt(Base):
    """One call to a provider and its outcome."""

    __tablename__ = "attempts"
    __table_args__ = (
        CheckConstraint(one_of("outcome", ATTEMPT_OUTCOMES), name="outcome"),
        Index("attempts_message", "message_id"),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    message_id: Mapped[int] = mapped_column(ForeignKey("messages.id", ondelete="CASCADE"))
    claim_token: Mapped[int] = mapped_column(Integer)
    agent: Mapped[str]
    outcome: Mapped[str]
    code: Mapped[str | None]
    detail: Mapped[str | None]
    duration_ms: Mapped[int | None] = mapped_column(Integer, doc="NULL if the worker was lost")
    finished_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class MessageEvent(Base):
    """One change of a message's status, recorded by a trigger."""

    __tablename__ = "message_events"
    __table_args__ = (Index("message_events_message", "message_id"),)

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    message_id: Mapped[int] = mapped_column(ForeignKey("messages.id", ondelete="CASCADE"))
    from_status: Mapped[str | None]
    to_status: Mapped[str]
    reason: Mapped[str | None]
    happened_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
