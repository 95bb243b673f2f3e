"""`Idempotency-Key`: the same request again gets the same answer, and does nothing.

The key, the work and the answer are one transaction. So a crash leaves nothing half done, and
whoever comes while that transaction is open is told so, by an advisory lock that ends with it.
Only an answer of success is kept: a refused request did nothing, and its key is still free.
"""

import hashlib
import re
from collections.abc import Callable
from http import HTTPStatus

from flask import Response, request
from sqlalchemy import Connection, func, select, text
from sqlalchemy.dialects.postgresql import insert

from app.api.problems import FieldError, ProblemError, invalid
from app.models import IdempotencyKey
from app.outbox.store import IDEMPOTENCY_WINDOW

HEADER = "Idempotency-Key"
PATTERN = r"^[!-~]{1,255}$"
REPLAYED = "Idempotent-Replayed"
KEPT_HEADERS = ("Location",)
HEADERS = {HEADER: {"type": "string", "pattern": PATTERN}}


def key() -> str | None:
    """The key of this request. Raises ProblemError where it cannot be one."""
    given = request.headers.get(HEADER)
    if given is not None and not re.fullmatch(PATTERN.strip("^$"), given):
        raise invalid([FieldError(field=HEADER, reason="1 to 255 ASCII characters, no spaces")])
    return given


def once(connection: Connection, client: str, key: str, answer: Callable[[], Response]) -> Response:
    """What `answer` gives, or gave to the same request of `client` within 24 hours.

    Raises ProblemError: 409 while that request is still in progress, 422 where the key belongs
    to another one.
    """
    _lock(connection, client, key)
    hashed = _hash()
    found = connection.execute(
        select(IdempotencyKey).where(
            IdempotencyKey.client == client,
            IdempotencyKey.key == key,
            IdempotencyKey.created_at > func.now() - IDEMPOTENCY_WINDOW,
        )
    ).one_or_none()
    if found is None:
        response = answer()
        _keep(connection, client, key, hashed, response)
        return response
    if bytes(found.request_hash) != hashed:
        raise invalid([FieldError(field=HEADER, reason="belongs to another request")])
    return Response(
        found.body,
        found.status,
        {**found.headers, REPLAYED: "true"},
        content_type="application/json",
    )


def _lock(connection: Connection, client: str, key: str) -> None:
    digest = hashlib.sha256(f"{client}\0{key}".encode()).digest()
    number = int.from_bytes(digest[:8], signed=True)
    statement = text("SELECT pg_try_advisory_xact_lock(:number)")
    if not connection.execute(statement, {"number": number}).scalar_one():
        raise ProblemError(
            HTTPStatus.CONFLICT,
            "the first request with this Idempotency-Key is still in progress",
            headers={"Retry-After": "1"},
        )


def _hash() -> bytes:
    hashed = hashlib.sha256(f"{request.method} {request.path}\0".encode())
    hashed.update(request.get_data())
    return hashed.digest()


def _keep(connection: Connection, client: str, key: str, hashed: bytes, response: Response) -> None:
    values = {
        "request_hash": hashed,
        "status": response.status_code,
        "headers": {
            name: response.headers[name] for name in KEPT_HEADERS if name in response.headers
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
