"""Route messages that were inserted by SQL: complete and check them as the API would have."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, text

from app import addresses, conversations, suppression
from app.agents import Agents, UnroutableError, choose_agent
from app.settings import settings

ROUTE_BATCH = 1000

FIND_UNROUTED = text("""
SELECT id, channel, agent, profile, sender, recipient, cc, bcc, reply_to, subject, headers
FROM messages
WHERE is_unrouted(status, agent, conversation_id)
ORDER BY id
LIMIT :batch
FOR UPDATE SKIP LOCKED
""")

SET_ROUTED = text("""
UPDATE messages
SET agent = routed.agent, sender = routed.sender, recipient = routed.recipient, cc = routed.cc,
    bcc = routed.bcc, conversation_id = routed.conversation_id,
    due_at = greatest(messages.due_at, messages.send_at)
FROM jsonb_to_recordset(CAST(:routed AS jsonb)) AS routed(
    id bigint, agent text, sender text, recipient text, cc text[], bcc text[],
    conversation_id bigint
)
WHERE messages.id = routed.id
""")

SET_FAILED = text("""
UPDATE messages
SET status = 'failed', error_code = rejected.error_code, reason = rejected.reason,
    finished_at = now()
FROM jsonb_to_recordset(CAST(:rejected AS jsonb)) AS rejected(
    id bigint, error_code text, reason text
)
WHERE messages.id = rejected.id
""")


@dataclass(frozen=True, slots=True)
class _Route:
    """A message that can be sent, with normalised addresses and a chosen agent."""

    id: int
    agent: str
    sender: str | None
    recipient: str
    cc: list[str]
    bcc: list[str]
    conversation: conversations.Key
    recipients: list[suppression.Key]


@dataclass(frozen=True, slots=True)
class _Rejection:
    """A message that cannot be sent, and why."""

    id: int
    error_code: str
    reason: str


def route(connection: Connection, agents: Agents) -> None:
    """Route up to 1,000 messages: normalise their addresses, choose their agents and find their
    conversations. A message that cannot be sent fails, with the reason in its row.
    """
    routes: list[_Route] = []
    rejections: list[_Rejection] = []
    for row in connection.execute(FIND_UNROUTED, {"batch": ROUTE_BATCH}).all():
        try:
            routes.append(_route(row, agents))
        except UnroutableError as error:
            rejections.append(_Rejection(row.id, "unroutable", f"{error.field}: {error}"))

    suppressed = suppression.find(connection, {key for one in routes for key in one.recipients})
    allowed: list[_Route] = []
    for one in routes:
        if entry := next((suppressed[key] for key in one.recipients if key in suppressed), None):
            rejections.append(_Rejection(one.id, suppression.ERROR_CODE, str(entry)))
        else:
            allowed.append(one)
    _set_routed(connection, allowed)
    _set_failed(connection, rejections)


def _route(row: Row[Any], agents: Agents) -> _Route:
    """Raises UnroutableError if the message cannot be sent."""
    region = settings().phone_region
    with _field("recipient"):
        recipient = addresses.normalise(row.channel, row.recipient, region)
    with _field("sender"):
        sender = row.sender and addresses.normalise_sender(row.channel, row.sender, region)
    _check_header_values(row)
    cc, bcc = row.cc, row.bcc
    if row.channel == "email":
        with _field("cc"):
            cc = [addresses.mailbox(address) for address in cc]
        with _field("bcc"):
            bcc = [addresses.mailbox(address) for address in bcc]
    agent = choose_agent(
        agents,
        channel=row.channel,
        recipient=recipient,
        sender=sender,
        requested=row.agent,
        profile=row.profile,
    )
    sender = sender or agents.default_sender(agent.name, row.profile)
    return _Route(
        row.id,
        agent.name,
        sender,
        recipient,
        cc,
        bcc,
        conversations.key(row.channel, recipient, sender),
        [suppression.key(row.channel, address) for address in (recipient, *cc, *bcc)],
    )


def _check_header_values(row: Row[Any]) -> None:
    """Connectors rely on header values without line breaks."""
    is_object = isinstance(row.headers, dict)
    values_of = {
        "subject": [row.subject or ""],
        "reply_to": [row.reply_to or ""],
        "cc": row.cc,
        "bcc": row.bcc,
        "headers": [*row.headers, *row.headers.values()] if is_object else [row.headers],
    }
    for name, values in values_of.items():
        with _field(name):
            for value in values:
                addresses.check_line(value)


@contextmanager
def _field(name: str) -> Iterator[None]:
    """Turn a ValueError into an UnroutableError that names the field."""
    try:
        yield
    except ValueError as error:
        raise UnroutableError(name, str(error)) from None


def _set_routed(connection: Connection, routes: Sequence[_Route]) -> None:
    if not routes:
        return
    ids = conversations.find_or_create(connection, [one.conversation for one in routes])
    rows = [
        {
            "id": one.id,
            "agent": one.agent,
            "sender": one.sender,
            "recipient": one.recipient,
            "cc": one.cc,
            "bcc": one.bcc,
            "conversation_id": ids[one.conversation],
        }
        for one in routes
    ]
    connection.execute(SET_ROUTED, {"routed": json.dumps(rows)})


def _set_failed(connection: Connection, rejections: Sequence[_Rejection]) -> None:
    if rejections:
        rows = [
            {"id": one.id, "error_code": one.error_code, "reason": one.reason} for one in rejections
        ]
        connection.execute(SET_FAILED, {"rejected": json.dumps(rows)})
