"""Conversations: the messages between the same participants on the same family of channels."""

from collections.abc import Iterable

from sqlalchemy import Connection, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from app import addresses
from app.models import Conversation, Message

Key = tuple[str, tuple[str, ...]]
"""The channel family and the sorted participants."""


def key(channel: str, recipient: str, sender: str | None) -> Key:
    """Return the key of the conversation that a message belongs to, in either direction.

    Raises:
        ValueError: an address is not an e-mail address, on the channel `email`.
    """
    participants = {addresses.key(channel, one) for one in (recipient, sender or recipient)}
    return addresses.family(channel), tuple(sorted(participants))


def find_or_create(connection: Connection, keys: Iterable[Key]) -> dict[Key, int]:
    """Return the ids of conversations, creating those that do not exist.

    Concurrent transactions that create the same conversations wait for each other.
    """
    wanted = sorted(set(keys))
    found = _find(connection, wanted)
    if missing := [key for key in wanted if key not in found]:
        connection.execute(
            insert(Conversation)
            .values([{"channel_family": key[0], "participants": list(key[1])} for key in missing])
            .on_conflict_do_nothing()
        )
        found |= _find(connection, missing)
    return found


def mark_read(connection: Connection, conversation_id: int, up_to: int) -> None:
    """Mark a conversation as read up to a message id, or to its last message before that.

    Messages that have been read stay read.
    """
    last_read = select(func.max(Message.id)).where(
        Message.conversation_id == conversation_id, Message.id <= up_to
    )
    connection.execute(
        update(Conversation)
        .where(Conversation.id == conversation_id)
        .values(read_up_to=func.greatest(Conversation.read_up_to, last_read.scalar_subquery()))
    )


def _find(connection: Connection, keys: list[Key]) -> dict[Key, int]:
    columns = tuple_(Conversation.channel_family, Conversation.participants)
    rows = connection.execute(
        select(Conversation.id, Conversation.channel_family, Conversation.participants).where(
            columns.in_([(family, list(participants)) for family, participants in keys])
        )
    )
    return {(row.channel_family, tuple(row.participants)): row.id for row in rows}
