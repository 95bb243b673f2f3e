"""The database tables.

Constraints and defaults live in the database, so that an INSERT of channel, recipient and body is
a complete message. The trigger that records events and notifies workers is in the first migration.
"""

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar, Literal, get_args

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.outbox.states import ATTEMPT_OUTCOMES, CANCELLABLE, FAILED, OUTBOUND_STATUSES
from connectors.base import Channel

CHANNELS: tuple[Channel, ...] = get_args(Channel)
PRIORITIES = {"immediate": 0, "high": 1, "medium": 2, "low": 3}
SuppressionReason = Literal[
    "opt_out", "complaint", "hard_bounce", "dead_address", "manual", "soft_bounce"
]
"""The strongest first: it is shown where an address is suppressed for several reasons."""

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


def _one_of(column: str, values: Iterable[str]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


class Base(DeclarativeBase):
    """Timestamps are aware and in UTC, texts are unbounded, ids are integers."""

    type_annotation_map: ClassVar = {
        datetime: DateTime(timezone=True),
        str: Text,
        int: BigInteger,
        dict[str, Any]: JSONB,
        list[str]: ARRAY(Text),
    }


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
        CheckConstraint(_one_of("channel", CHANNELS), name="channel"),
        CheckConstraint("priority BETWEEN 0 AND 3", name="priority"),
        CheckConstraint("recipient <> ''", name="recipient"),
        CheckConstraint(
            f"CASE direction WHEN 'inbound' THEN status = 'received'"
            f" ELSE {_one_of('status', OUTBOUND_STATUSES)} END",
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
                f"expires_at IS NOT NULL AND {_one_of('status', sorted(CANCELLABLE))}"
            ),
        ),
        Index(
            "messages_failed",
            "id",
            postgresql_where=text(_one_of("status", sorted(FAILED))),
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
        CheckConstraint(_one_of("outcome", ATTEMPT_OUTCOMES), name="outcome"),
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


class Suppression(Base):
    """A reason why an address is suppressed; see `app.suppression`."""

    __tablename__ = "suppressions"
    __table_args__ = (
        CheckConstraint(_one_of("reason", get_args(SuppressionReason)), name="reason"),
        Index("suppressions_entry", "channel_family", "address", "reason", unique=True),
        Index(
            "suppressions_expiring", "expires_at", postgresql_where=text("expires_at IS NOT NULL")
        ),
        Index(
            "suppressions_message", "message_id", postgresql_where=text("message_id IS NOT NULL")
        ),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    channel_family: Mapped[str]
    address: Mapped[str]
    reason: Mapped[str]
    detail: Mapped[str | None]
    agent: Mapped[str | None]
    message_id: Mapped[int | None] = mapped_column(ForeignKey("messages.id", ondelete="SET NULL"))
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime | None]


class SoftBounce(Base):
    """A message that an address could not receive for the time being; see `app.soft_bounces`."""

    __tablename__ = "soft_bounces"
    __table_args__ = (
        UniqueConstraint("message_id", "address"),
        Index("soft_bounces_address", "channel_family", "address"),
        Index("soft_bounces_created", "created_at"),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    channel_family: Mapped[str]
    address: Mapped[str]
    message_id: Mapped[int] = mapped_column(ForeignKey("messages.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Receipt(Base):
    """A delivery receipt of a provider; see `app.outbox.receipts`."""

    __tablename__ = "receipts"
    __table_args__ = (
        UniqueConstraint("agent", "key"),
        Index("receipts_message", "message_id"),
        Index("receipts_received", "received_at"),
        Index("receipts_pending", "agent", "provider_message_id", postgresql_where=text("pending")),
        Index("receipts_unmatched", "received_at", postgresql_where=text("message_id IS NULL")),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    agent: Mapped[str]
    key: Mapped[str] = mapped_column(doc="identifies repeats of this receipt")
    kind: Mapped[str]
    message_id: Mapped[int | None] = mapped_column(ForeignKey("messages.id", ondelete="CASCADE"))
    message_uid: Mapped[uuid.UUID | None] = mapped_column(Uuid)
    provider_message_id: Mapped[str | None]
    recipient: Mapped[str | None]
    code: Mapped[str | None]
    detail: Mapped[str | None]
    payload: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    origin: Mapped[str] = mapped_column(
        server_default="verified", doc="as in `connectors.base.Receipt`"
    )
    pending: Mapped[bool] = mapped_column(
        server_default=text("true"), doc="whether it waits for its message"
    )
    occurred_at: Mapped[datetime | None] = mapped_column(doc="as reported by the provider")
    received_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class Poll(Base):
    """A message whose provider must be polled for its status; see `app.inbound.polling`."""

    __tablename__ = "polls"
    __table_args__ = (Index("polls_due", "agent", "due_at"),)

    message_id: Mapped[int] = mapped_column(
        ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True
    )
    agent: Mapped[str]
    polls: Mapped[int] = mapped_column(Integer, server_default="0", doc="number of polls so far")
    due_at: Mapped[datetime]


class UnparsedInbound(Base):
    """A webhook or an e-mail that is not parsed yet or could not be."""

    __tablename__ = "unparsed_inbound"
    __table_args__ = (
        CheckConstraint("kind IN ('inbound', 'status', 'mailbox')", name="kind"),
        Index("unparsed_inbound_due", "due_at", postgresql_where=text("error IS NULL")),
        Index("unparsed_inbound_failed", "id", postgresql_where=text("error IS NOT NULL")),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    agent: Mapped[str]
    profile: Mapped[str]
    kind: Mapped[str] = mapped_column(doc="of a webhook, or `mailbox` for an e-mail from one")
    request: Mapped[dict[str, Any]] = mapped_column(doc="method, URL and headers, or `size_bytes`")
    body: Mapped[bytes] = mapped_column(LargeBinary)
    received_at: Mapped[datetime] = mapped_column(server_default=func.now())
    due_at: Mapped[datetime] = mapped_column(server_default=func.now())
    attempts: Mapped[int] = mapped_column(server_default="0")
    error: Mapped[str | None] = mapped_column(doc="why it could not be parsed")


class Lease(Base):
    """The right to do a piece of work that one process does at a time; see `app.leases`."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[str]
    lease_until: Mapped[datetime]


class AgentState(Base):
    """Whether an agent is paused. An agent without a row is not."""

    __tablename__ = "agent_states"

    agent: Mapped[str] = mapped_column(primary_key=True)
    paused: Mapped[bool]
    reason: Mapped[str | None]
    changed_by: Mapped[str]
    changed_at: Mapped[datetime] = mapped_column(server_default=func.now())


class SchedulerState(Base):
    """Whether the scheduler is running, and the time of the last scan. A single row."""

    __tablename__ = "scheduler_state"
    __table_args__ = (CheckConstraint("id = 1", name="single"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, server_default="1")
    running: Mapped[bool] = mapped_column(server_default=text("true"))
    changed_by: Mapped[str | None]
    changed_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_scan_at: Mapped[datetime | None]


class ApiToken(Base):
    """A credential of an application. Several tokens may share a name, for rotation."""

    __tablename__ = "api_tokens"
    __table_args__ = (Index("api_tokens_name", "name"),)

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    name: Mapped[str]
    hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True, doc="SHA-256 of the token")
    hint: Mapped[str] = mapped_column(doc="its first characters, to recognise it")
    scopes: Mapped[list[str]]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class IdempotencyKey(Base):
    """The stored response to a request with an Idempotency-Key."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("idempotency_keys_created", "created_at"),)

    client: Mapped[str] = mapped_column(primary_key=True, doc="name of the token or operator")
    key: Mapped[str] = mapped_column(primary_key=True)
    request_hash: Mapped[bytes] = mapped_column(LargeBinary)
    status: Mapped[int] = mapped_column(SmallInteger)
    headers: Mapped[dict[str, Any]]
    body: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
