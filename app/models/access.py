"""The tokens of applications, and the stored responses to their requests."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    Identity,
    Index,
    LargeBinary,
    SmallInteger,
    func,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base


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
