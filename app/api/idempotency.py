"""`Idempotency-Key`: a repeated request gets the stored response and does nothing else.

The key, the work and the response are one transaction, so a crash leaves nothing half done. An
advisory lock, which ends with that transaction, detects a repeat that arrives meanwhile. Only
successful responses are stored: a rejected request did nothing, and its key can be used again.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus

from flask import Response, request
from sqlalchemy import Connection, func, select, text
from sqlalchemy.dialects.postgresql import insert

from app.api.problems import ProblemError
from app.errors import FieldError, InvalidError
from app.models import IdempotencyKey
from app.outbox.store import IDEMPOTENCY_WINDOW

HEADER = "Idempotency-Key"
PATTERN = r"^[!-~]{1,255}$"
REPLAYED = "Idempotent-Replayed"
STORED_HEADERS = ("Location",)


@dataclass(slots=True)
class Exchange:
    """A request and its response, once there is one."""

    response: Response | None = None


@contextmanager
def idempotent(connection: Connection, client: str) -> Iterator[Exchange]:
    """Find or store the response to the current request, in the transaction of `connection`.

    The exchange already has a response if `client` sent the same request with the same key within
    24 hours. Otherwise the caller does the work and sets the response, which is then stored.
    Without the header nothing is looked up or stored.

    Raises:
        InvalidError: The key is malformed, or was used for a different request.
        ProblemError: 409 while the first request is still in progress.
    """
    key = _key()
    if key is None:
        yield Exchange()
        return
    _lock(connection, client, key)
    request_hash = _hash()
    exchange = Exchange(_find(connection, client, key, request_hash))
    is_replayed = exchange.response is not None
    yield exchange
    if exchange.response is not None and not is_replayed:
        _store(connection, client, key, request_hash, exchange.response)


def _key() -> str | None:
    given = request.headers.get(HEADER)
    if given is not None and not re.fullmatch(PATTERN.strip("^$"), given):
        raise InvalidError([FieldError(HEADER, "must be 1 to 255 ASCII characters without spaces")])
    return given


def _lock(connection: Connection, client: str, key: str) -> None:
    digest = hashlib.sha256(f"{client}\0{key}".encode()).digest()
    number = int.from_bytes(digest[:8], signed=True)
    statement = text("SELECT pg_try_advisory_xact_lock(:number)")
    if not connection.execute(statement, {"number": number}).scalar_one():
        raise ProblemError(
            HTTPStatus.CONFLICT,
            "The first request with this Idempotency-Key is still in progress. Try again.",
            headers={"Retry-After": "1"},
        )


def _hash() -> bytes:
    hashed = hashlib.sha256(f"{request.method} {request.path}\0".encode())
    hashed.update(request.get_data())
    return hashed.digest()


def _find(connection: Connection, client: str, key: str, request_hash: bytes) -> Response | None:
    found = connection.execute(
        select(IdempotencyKey).where(
            IdempotencyKey.client == client,
            IdempotencyKey.key == key,
            IdempotencyKey.created_at > func.now() - IDEMPOTENCY_WINDOW,
        )
    ).one_or_none()
    if found is None:
        return None
    if bytes(found.request_hash) != request_hash:
        raise InvalidError(
            [FieldError(HEADER, "already used for a different request. Use a new key.")]
        )
    return Response(
        found.body,
        found.status,
        {**found.headers, REPLAYED: "true"},
        content_type="application/json",
    )


def _store(
    connection: Connection, client: str, key: str, request_hash: bytes, response: Response
) -> None:
    values = {
        "request_hash": request_hash,
        "status": response.status_code,
        "headers": {
            name: response.headers[name] for name in STORED_HEADERS if name in response.headers
        },
        "body": response.get_data(as_text=True),
        "created_at": func.now(),
    }
    connection.execute(
        insert(IdempotencyKey)
        .values(client=client, key=key, **values)
        .on_conflict_do_update(
            index_elements=[IdempotencyKey.client, IdempotencyKey.key], set_=values
        )
    )
