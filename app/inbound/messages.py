"""The inbox: what people send us, kept once, in its conversation.

STOP on a telephone channel suppresses the sender and START lets it be written to again; what was
done is the reason of the message's first event.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select, text
from sqlalchemy.dialects.postgresql import insert

from app import addresses, conversations, suppression
from app.inbound import keywords as consent
from app.models import Attachment, Message
from app.settings import settings
from app.texts import storable
from connectors import base
from connectors.base import Channel, Inbound, Keyword

UID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

REASONS: Mapping[Keyword, str] = {
    "stop": "STOP: its sender is not written to any more",
    "start": "START: its sender may be written to again",
    "help": "HELP",
}

ANSWERED = text("""
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


@dataclass(frozen=True, slots=True)
class Kept:
    """An inbound message that is in the inbox now; not `is_new` where it was there before."""

    id: int
    conversation_id: int
    is_new: bool


def keep(
    connection: Connection, agent: str | None, message: Inbound, profile: str = "default"
) -> Kept:
    """Keep a message that came by `agent`, in the transaction of `connection`.

    A message with the same key is kept once, however often and at whatever moment it comes.
    """
    sender = _address(message.channel, message.sender)
    recipient = _address(message.channel, message.recipient)
    key = _conversation(message.channel, recipient, sender)
    conversation_id = conversations.find_or_create(connection, [key])[key]
    keyword = _keyword(message)
    message_id = connection.execute(
        insert(Message)
        .values(
            direction="inbound",
            status="received",
            reason=REASONS.get(keyword) if keyword else _reason(message),
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
            parent_id=_answered(connection, agent, message.in_reply_to),
            sent_at=message.occurred_at,
        )
        .on_conflict_do_nothing()
        .returning(Message.id)
    ).scalar_one_or_none()
    if message_id is None:
        return _known(connection, agent, message.key)
    if message.attachments:
        connection.execute(insert(Attachment), _files(message_id, message.attachments))
    if keyword:
        _obey(connection, keyword, message.channel, sender, agent, message_id)
    return Kept(message_id, conversation_id, is_new=True)


def _known(connection: Connection, agent: str | None, key: str) -> Kept:
    row = connection.execute(
        select(Message.id, Message.conversation_id).where(
            func.coalesce(Message.agent, "") == (agent or ""), Message.inbound_key == storable(key)
        )
    ).one()
    return Kept(row.id, row.conversation_id, is_new=False)


def _address(channel: Channel, value: str) -> str:
    """The address as it is kept; one that has no such form is kept as it came."""
    try:
        return addresses.normalise_sender(channel, value, settings().phone_region)
    except ValueError:
        return storable(" ".join(value.split())) or "unknown"


def _conversation(channel: Channel, recipient: str, sender: str) -> conversations.Key:
    try:
        return conversations.key(channel, recipient, sender)
    except ValueError:
        return addresses.family(channel), tuple(sorted({recipient, sender}))


def _keyword(message: Inbound) -> Keyword | None:
    if message.channel not in addresses.PHONE_CHANNELS:
        return None
    return message.keyword or consent.keyword(message.body, settings().keyword_languages)


def _reason(message: Inbound) -> str | None:
    return "an automatic reply" if message.automatic else None


def _obey(
    connection: Connection,
    keyword: Keyword,
    channel: Channel,
    sender: str,
    agent: str | None,
    message_id: int,
) -> None:
    key = suppression.key(channel, sender)
    if keyword == "stop":
        suppression.add(
            connection,
            key,
            reason="opt_out",
            detail="STOP",
            agent=agent,
            message_id=message_id,
            by="recipient",
        )
    elif keyword == "start":
        entry = suppression.find(connection, [key]).get(key)
        if entry is not None and entry.reason == "opt_out":
            suppression.remove(connection, entry.id)


def _answered(connection: Connection, agent: str | None, answers: Sequence[str]) -> int | None:
    """The outbound message that is answered: by the uid in a Message-ID of ours, or by the
    provider's id; of several, the first that is found."""
    if not answers:
        return None
    uids = [found[0] for answer in answers if (found := UID.search(answer))]
    ids = [storable(answer) for answer in answers]
    return connection.execute(ANSWERED, {"agent": agent, "uids": uids, "ids": ids}).scalar()


def _files(message_id: int, attachments: Sequence[base.Attachment]) -> list[dict[str, Any]]:
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
