"""API tokens. A token is shown once, when it is created; only its SHA-256 is stored."""

import hmac
import logging
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Literal, get_args

from sqlalchemy import Connection, Row, func, insert, select, text, update
from sqlalchemy.exc import SQLAlchemyError

from app.db import describe_error
from app.models import ApiToken

log = logging.getLogger(__name__)

Scope = Literal["submit", "read", "operate", "receive"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
PREFIX = "postroom_"
HINT_CHARACTERS = len(PREFIX) + 5
MAX_NAME = 100


class TokenError(Exception):
    """Invalid credentials. The text says why and contains no secret."""


@dataclass(frozen=True, slots=True)
class Client:
    """An authenticated client: the name of its token and the scopes."""

    name: str
    scopes: frozenset[str]


def create_token(
    connection: Connection,
    *,
    name: str,
    scopes: Collection[Scope],
    expires_at: datetime | None = None,
) -> str:
    """Create a token and return it. It cannot be read again.

    Several tokens may share a name, so that a new one can replace an old one before that is
    revoked.

    Raises:
        ValueError: The name or the scopes are invalid.
    """
    # In HTTP Basic the name ends at the first colon.
    if not name.isprintable() or ":" in name or not 0 < len(name) <= MAX_NAME:
        raise ValueError("name: must be 1 to 100 printable characters without a colon")
    if not scopes or not set(scopes) <= set(SCOPES):
        raise ValueError(f"scopes: must be one or more of {', '.join(SCOPES)}")
    token = PREFIX + secrets.token_urlsafe(32)
    connection.execute(
        insert(ApiToken).values(
            name=name,
            hash=_hash(token),
            hint=token[:HINT_CHARACTERS],
            scopes=sorted(scopes),
            expires_at=expires_at,
        )
    )
    return token


# last_used_at is updated at most once a minute, to save round trips and row versions, and by a
# statement of its own, so that a token can be used for reading while PostgreSQL is read-only.
FIND = text("""
SELECT id, name, hash, scopes, revoked_at <= now() AS revoked, expires_at <= now() AS expired,
    (last_used_at IS NULL OR last_used_at < now() - interval '1 minute') AS is_use_due
FROM api_tokens WHERE hash = :hash
""")
RECORD_USE = text("""
UPDATE api_tokens SET last_used_at = now()
WHERE id = :id AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
""")


def find_client(connection: Connection, token: str, *, name: str | None = None) -> Client:
    """Return the client of a token. If `name` is given, it must be the token's name.

    Raises:
        TokenError: The token is unknown, revoked or expired.
    """
    hashed = _hash(token)
    row = connection.execute(FIND, {"hash": hashed}).one_or_none()
    if row is None or not hmac.compare_digest(bytes(row.hash), hashed):
        raise TokenError("Invalid credentials.")
    if name is not None and not hmac.compare_digest(row.name.encode(), name.encode()):
        raise TokenError("Invalid credentials.")
    if row.revoked:
        raise TokenError("The token has been revoked.")
    if row.expired:
        raise TokenError("The token has expired.")
    if row.is_use_due:
        _record_use(connection, row.id)
    return Client(row.name, frozenset(row.scopes))


def _record_use(connection: Connection, token_id: int) -> None:
    """Update `last_used_at`, if PostgreSQL accepts writes."""
    try:
        connection.execute(RECORD_USE, {"id": token_id})
    except SQLAlchemyError as error:
        log.warning("cannot record the use of a token: %s", describe_error(error))


def revoke(connection: Connection, token_id: int) -> bool:
    """Revoke a token. Return False if there is no such token, or it was revoked already."""
    revoked = connection.execute(
        update(ApiToken)
        .where(ApiToken.id == token_id, ApiToken.revoked_at.is_(None))
        .values(revoked_at=func.now())
    )
    return revoked.rowcount == 1


def list_tokens(connection: Connection) -> list[Row[tuple[object, ...]]]:
    """Return all tokens without their hashes, oldest first."""
    columns = [column for column in ApiToken.__table__.columns if column.name != "hash"]
    return list(connection.execute(select(*columns).order_by(ApiToken.id)))


def _hash(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogatepass")).digest()
