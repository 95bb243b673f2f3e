"""API tokens: made once and shown once; only their SHA-256 is kept."""

import hmac
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Literal, get_args

from sqlalchemy import Connection, Row, func, insert, select, text, update

from app.models import ApiToken

Scope = Literal["submit", "read", "operate", "receive"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
PREFIX = "postroom_"
HINT_CHARACTERS = len(PREFIX) + 5
MAX_NAME = 100


class TokenError(Exception):
    """The credentials are good for nothing. The text says why and holds no secret."""


@dataclass(frozen=True, slots=True)
class Client:
    """Who is asking: the name of the token, and what it may do."""

    name: str
    scopes: frozenset[str]


def create_token(
    connection: Connection,
    *,
    name: str,
    scopes: Collection[Scope],
    expires_at: datetime | None = None,
) -> str:
    """Make a token and return it; nobody can read it again.

    Several tokens may share a name, so a new one can be in use before the old one is revoked.
    Raises ValueError where the name or the scopes are of no use.
    """
    # HTTP Basic ends the name at the first colon.
    if not name.isprintable() or ":" in name or not 0 < len(name) <= MAX_NAME:
        raise ValueError("the name must be 1 to 100 printable characters without a colon")
    if not scopes or not set(scopes) <= set(SCOPES):
        raise ValueError(f"the scopes must be one or more of {', '.join(SCOPES)}")
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


# Noting the last use rides on the look-up, at most once a minute, so that it costs neither a
# round trip nor a row version for each request.
FIND = text("""
WITH found AS (
    SELECT id, name, hash, scopes, revoked_at <= now() AS revoked, expires_at <= now() AS expired
    FROM api_tokens WHERE hash = :hash
), used AS (
    UPDATE api_tokens SET last_used_at = now()
    FROM found
    WHERE api_tokens.id = found.id AND found.revoked IS NOT TRUE AND found.expired IS NOT TRUE
        AND (api_tokens.last_used_at IS NULL
            OR api_tokens.last_used_at < now() - interval '1 minute')
)
SELECT name, hash, scopes, revoked, expired FROM found
""")


def find(connection: Connection, token: str, *, name: str | None = None) -> Client:
    """Whose token this is; with `name`, it must be the token's own. One statement.

    Raises TokenError where it is unknown, revoked or expired.
    """
    hashed = _hash(token)
    row = connection.execute(FIND, {"hash": hashed}).one_or_none()
    if row is None or not hmac.compare_digest(bytes(row.hash), hashed):
        raise TokenError("unknown token")
    if name is not None and not hmac.compare_digest(row.name.encode(), name.encode()):
        raise TokenError("unknown token")
    if row.revoked:
        raise TokenError("the token was revoked")
    if row.expired:
        raise TokenError("the token has expired")
    return Client(row.name, frozenset(row.scopes))


def revoke(connection: Connection, token_id: int) -> bool:
    """End a token at once. False where there is no such token that still was good."""
    revoked = connection.execute(
        update(ApiToken)
        .where(ApiToken.id == token_id, ApiToken.revoked_at.is_(None))
        .values(revoked_at=func.now())
    )
    return revoked.rowcount == 1


def tokens(connection: Connection) -> list[Row[tuple[object, ...]]]:
    """Every token, oldest first: id, name, hint, scopes, created_at, expires_at, revoked_at and
    last_used_at (to the minute).
    """
    columns = [column for column in ApiToken.__table__.columns if column.name != "hash"]
    return list(connection.execute(select(*columns).order_by(ApiToken.id)))


def _hash(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogatepass")).digest()
