"""Store inbound messages, each once, in its conversation."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select, text
from sqlalchemy.dialects.postgresql import insert

from app import addresses, conversations, suppression
from app.db import storable
from app.inbound.keywords import apply_keyword, find_keyword
from app.models import Attachment, Message
from app.settings import settings
from connectors import base
from connectors.base import Channel, Inbound, Keyword

UID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

KEYWORD_REASONS: Mapping[Keyword, str] = {
    "stop": "STOP: the sender opted out",
    "start": "START: the sender opted in again",
    "help": "HELP",
}
AUTOMATIC_REASON = "automatic reply"

# The first of the given ids that belongs to an outbound message, ours before the provider's.
FIND_PARENT = text("""
SELECT id FROM messages
WHERE direction = 'outbound' AND (
    uid = ANY(CAST(:uids AS uuid[]))
    OR provider_message_id = ANY(CAST(:ids AS text[])) AND agent = :agent
)
ORDER BY coalesce(
    array_position(CAST(:uids AS uuid[]), uid),
    array_position(CAST(:ids AS text[]), provider_message_id)
), id DESC
LIMIT 1
""")


# Let the same content count again once it can no longer be a repeat. An opt-out counts again as
# soon as its sender wrote something else: losing it would be worse than storing it twice.
RELEASE_KEY = text("""
UPDATE messages SET inbound_key = inbound_key || ':' || id
WHERE coalesce(agent, '') = coalesce(:agent, '') AND inbound_key = :key AND (
    created_at < now() - CAST(:window AS interval)
    OR :is_opt_out AND EXISTS (
        SELECT FROM messages AS later
        WHERE later.conversation_id = messages.conversation_id AND later.direction = 'inbound'
            AND later.sender = messages.sender AND later.id > messages.id
    )
)
""")


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored inbound message; `is_new` is False for one that had been stored before."""

    id: int
    conversation_id: int
    is_new: bool


def store(
    connection: Connection, agent: str | None, message: Inbound, profile: str = "default"
) -> Stored:
    """Store a message, in the transaction of `connection`, and apply an opt-out keyword.

    A message with the same agent and key is stored once, however often and concurrently it
    arrives. `agent` is None for a message that came without a configured agent.
    """
    sender = _normalise(message.channel, message.sender)
    recipient = _normalise(message.channel, message.recipient)
    conversation = _conversation_key(message.channel, recipient, sender)
    conversation_id = conversations.find_or_create(connection, [conversation])[conversation]
    keyword = _keyword(message)
    if message.repeat_window is not None:
        values = {
            "agent": agent,
            "key": storable(message.key),
            "window": message.repeat_window,
            "is_opt_out": keyword == "stop",
        }
        connection.execute(RELEASE_KEY, values)
    message_id = connection.execute(
        insert(Message)
        .values(
            direction="inbound",
            status="received",
            reason=_reason(message, keyword),
            inbound_key=storable(message.key),
            channel=message.channel,
            agent=agent,
            profile=profile,
            sender=sender,
            recipient=recipient,
            subject=storable(message.subject),
            body=storable(message.body),
            html=storable(message.html),
            headers=storable(message.headers),
            metadata_=storable(message.metadata),
            provider_message_id=message.provider_message_id,
            conversation_id=conversation_id,
            parent_id=_find_parent(connection, agent, message.in_reply_to),
            sent_at=message.occurred_at,
        )
        .on_conflict_do_nothing()
        .returning(Message.id)
    ).scalar_one_or_none()
    if message_id is None:
        return _find(connection, agent, message.key)
    if message.attachments:
        connection.execute(insert(Attachment), _attachment_rows(message_id, message.attachments))
    if keyword:
        key = suppression.key(message.channel, sender)
        apply_keyword(connection, keyword, key, agent=agent, message_id=message_id)
    return Stored(message_id, conversation_id, is_new=True)


def _find(connection: Connection, agent: str | None, key: str) -> Stored:
    row = connection.execute(
        select(Message.id, Message.conversation_id).where(
            func.coalesce(Message.agent, "") == (agent or ""), Message.inbound_key == storable(key)
        )
    ).one()
    return Stored(row.id, row.conversation_id, is_new=False)


def _normalise(channel: Channel, value: str) -> str:
    """Return the normalised address, or for one that is not valid its text on one line."""
    try:
        return addresses.normalise_sender(channel, value, settings().phone_region)
    except ValueError:
        return storable(" ".join(value.split())) or "unknown"


def _conversation_key(channel: Channel, recipient: str, sender: str) -> conversations.Key:
    try:
        return conversations.key(channel, recipient, sender)
    except ValueError:  # an address that is not valid
        return addresses.family(channel), tuple(sorted({recipient, sender}))


def _keyword(message: Inbound) -> Keyword | None:
    if message.channel not in addresses.PHONE_CHANNELS:
        return None
    return message.keyword or find_keyword(message.body, settings().keyword_languages)


def _reason(message: Inbound, keyword: Keyword | None) -> str | None:
    if keyword:
        return KEYWORD_REASONS[keyword]
    return AUTOMATIC_REASON if message.automatic else None


def _find_parent(connection: Connection, agent: str | None, ids: Sequence[str]) -> int | None:
    """Return the id of the outbound message that an inbound one replies to.

    `ids` are Message-IDs that contain a uid of ours, or the provider's ids of our messages.
    """
    if not ids:
        return None
    uids = [found[0] for one in ids if (found := UID.search(one))]
    values = {"agent": agent, "uids": uids, "ids": [storable(one) for one in ids]}
    return connection.execute(FIND_PARENT, values).scalar()


def _attachment_rows(
    message_id: int, attachments: Sequence[base.Attachment]
) -> list[dict[str, Any]]:
    return [
        {
            "message_id": message_id,
            "name": storable(file.name),
            "content_type": storable(file.content_type),
            "content": file.content,
            "url": file.url,
        }
        for file in attachments
    ]
