"""Conversations: which messages belong together."""

from collections.abc import Iterable

from sqlalchemy import Connection, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from app import addresses
from app.models import Conversation, Message

Key = tuple[str, tuple[str, ...]]


def key(channel: str, recipient: str, sender: str | None) -> Key:
    """What the messages of one conversation share: the channel family, and the participants
    without regard to who writes to whom."""
    people = {addresses.key(channel, person) for person in (recipient, sender or recipient)}
    return addresses.family(channel), tuple(sorted(people))


def find_or_create(connection: Connection, keys: Iterable[Key]) -> dict[Key, int]:
    """The ids of the conversations with these keys; those that are missing are made.

    Safe where others make the same ones at the same time.
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
    """Note that somebody has read the conversation up to the message `up_to`, or to its end where
    that comes before. What was read once stays so."""
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
            columns.in_([(family, list(people)) for family, people in keys])
        )
    )
    return {(row.channel_family, tuple(row.participants)): row.id for row in rows}
