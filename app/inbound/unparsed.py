"""Webhooks and e-mails that were stored before they were parsed.

A row is deleted in the transaction that stores its contents, so each is stored once whatever
happens to the worker. What cannot be parsed stays, with the reason, until an operator retries it
or its retention ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, delete, insert, text

from app.db import storable
from app.models import UnparsedInbound
from connectors.base import RawMail, WebhookRequest

Kind = Literal["inbound", "status", "mailbox"]

NOTIFICATION = "parse"
"""The payload of the notification of a new row, on the channel `outbox`."""

LEASE = timedelta(minutes=5)
PURGE_BATCH = 100

# They were checked when the request arrived, and parsing does not need them.
CREDENTIALS = frozenset({"authorization", "proxy-authorization", "cookie"})

NOTIFY = text("SELECT pg_notify('outbox', :payload)").bindparams(payload=NOTIFICATION)

IS_DUE = text("""
SELECT EXISTS (SELECT FROM unparsed_inbound WHERE error IS NULL AND due_at <= now())
""")

CLAIM = text("""
UPDATE unparsed_inbound
SET attempts = attempts + 1, due_at = now() + CAST(:lease AS interval)
WHERE id = (
    SELECT id FROM unparsed_inbound
    WHERE error IS NULL AND due_at <= now()
    ORDER BY due_at
    LIMIT 1
    FOR UPDATE SKIP LOCKED
)
RETURNING id, agent, profile, kind, request, body, received_at, attempts
""")

FAIL = text("""
UPDATE unparsed_inbound SET error = :error WHERE id = :id AND attempts = :attempts
""")

RETRY = text("""
UPDATE unparsed_inbound SET error = NULL, attempts = 0, due_at = now()
WHERE id = :id AND error IS NOT NULL
""")

LIST_FAILED = text("""
SELECT id, agent, profile, kind, octet_length(body) AS size_bytes, received_at, error
FROM unparsed_inbound
WHERE error IS NOT NULL
ORDER BY id DESC
LIMIT :limit
""")

PURGE = text("""
DELETE FROM unparsed_inbound WHERE id = ANY(ARRAY(
    SELECT id FROM unparsed_inbound
    WHERE error IS NOT NULL AND received_at < now() - CAST(:retention AS interval)
    LIMIT :batch
    FOR UPDATE SKIP LOCKED
))
""")


@dataclass(frozen=True, slots=True)
class Unparsed:
    """A claimed row. `attempts` counts this attempt, and fences off earlier ones."""

    id: int
    agent: str
    profile: str
    content: WebhookRequest | RawMail
    attempts: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A webhook or an e-mail that could not be parsed, and the reason."""

    id: int
    agent: str
    profile: str
    kind: Kind
    size_bytes: int
    received_at: datetime
    error: str


def store(
    connection: Connection, agent: str, profile: str, content: WebhookRequest | RawMail
) -> None:
    """Store a webhook or an e-mail; workers are notified when the transaction is committed."""
    request: dict[str, Any]
    if isinstance(content, WebhookRequest):
        headers = {
            name: value for name, value in content.headers.items() if name not in CREDENTIALS
        }
        request = {"method": content.method, "url": content.url, "headers": headers}
        kind, body = str(content.kind), content.body
    else:
        request = {"size_bytes": content.size_bytes}
        kind, body = "mailbox", content.content
    values = {"agent": agent, "profile": profile, "kind": kind, "body": body}
    connection.execute(insert(UnparsedInbound).values(request=storable(request), **values))
    connection.execute(NOTIFY)


def is_due(connection: Connection) -> bool:
    """Return whether there is anything to parse."""
    return bool(connection.execute(IS_DUE).scalar_one())


def claim(connection: Connection) -> Unparsed | None:
    """Claim the row that has been due for longest, for the duration of `LEASE`."""
    row = connection.execute(CLAIM, {"lease": LEASE}).one_or_none()
    if row is None:
        return None
    content: WebhookRequest | RawMail
    body = bytes(row.body)
    if row.kind == "mailbox":
        content = RawMail(body, row.request["size_bytes"])
    else:
        content = WebhookRequest(
            kind=row.kind, body=body, received_at=row.received_at, **row.request
        )
    return Unparsed(row.id, row.agent, row.profile, content, row.attempts)


def finish(connection: Connection, unparsed: Unparsed) -> bool:
    """Delete a row whose contents are stored in the same transaction.

    Returns False, and deletes nothing, if another worker has claimed or finished it since.
    """
    statement = delete(UnparsedInbound).where(
        UnparsedInbound.id == unparsed.id, UnparsedInbound.attempts == unparsed.attempts
    )
    return connection.execute(statement).rowcount == 1


def fail(connection: Connection, unparsed: Unparsed, error: str) -> None:
    """Record why a webhook or an e-mail cannot be parsed."""
    values = {"id": unparsed.id, "attempts": unparsed.attempts, "error": storable(error)}
    connection.execute(FAIL, values)


def retry(connection: Connection, id_: int) -> bool:
    """Make a row that could not be parsed due again. Returns False if there is none."""
    connection.execute(NOTIFY)
    return connection.execute(RETRY, {"id": id_}).rowcount == 1


def list_failed(connection: Connection, limit: int) -> Sequence[Failed]:
    """Return the webhooks and e-mails that could not be parsed, newest first."""
    rows = connection.execute(LIST_FAILED, {"limit": limit}).mappings()
    return [Failed(**row) for row in rows]


def get_body(connection: Connection, id_: int) -> bytes | None:
    """Return the body of a webhook, or an e-mail, or None if there is no such row."""
    body = connection.execute(
        text("SELECT body FROM unparsed_inbound WHERE id = :id"), {"id": id_}
    ).scalar_one_or_none()
    return None if body is None else bytes(body)


def purge(connection: Connection, retention: timedelta) -> int:
    """Delete rows older than `retention` that could not be parsed, at most 100 a call."""
    return connection.execute(PURGE, {"retention": retention, "batch": PURGE_BATCH}).rowcount
