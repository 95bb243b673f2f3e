"""What providers report: receipts, polls for them, and requests still to be parsed."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base


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
