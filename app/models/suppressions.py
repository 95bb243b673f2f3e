"""Suppressed addresses, and the soft bounces that lead to them."""

from datetime import datetime
from typing import Literal, get_args

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, one_of

SuppressionReason = Literal[
    "opt_out", "complaint", "hard_bounce", "dead_address", "manual", "soft_bounce"
]
"""The strongest first: it is shown where an address is suppressed for several reasons."""


class Suppression(Base):
    """A reason why an address is suppressed; see `app.suppression`."""

    __tablename__ = "suppressions"
    __table_args__ = (
        CheckConstraint(one_of("reason", get_args(SuppressionReason)), name="reason"),
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
