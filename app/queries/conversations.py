"""Which conversations there are, and what was written in them.

A conversation knows nothing of its last message, so that no message waits for another to note it
there. It is found by the index of the messages instead.
"""

from collections import defaultdict
from typing import Annotated, Any, Literal

from pydantic import Field
from sqlalchemy import Connection, RowMapping, Select, exists, func, select, true
from sqlalchemy.orm import aliased

from app import addresses
from app.errors import NotFoundError
from app.fields import ONE_LINE, Flag
from app.models import Attachment, Conversation, Message
from app.queries.messages import FILE, SUMMARY, spellings
from app.queries.pages import Paged, page_of
from app.queries.views import (
    ConversationMessage,
    ConversationMessagePage,
    ConversationPage,
    ConversationView,
    LastMessage,
)
from connectors.base import Channel

PREVIEW_CHARACTERS = 160
SHOWN_CHARACTERS = 65_536

IN_CONVERSATION = Message.conversation_id == Conversation.id
UNREAD = (
    IN_CONVERSATION,
    Message.id > Conversation.read_up_to,
    Message.direction == "inbound",
)


class ConversationQuery(Paged):
    """Which conversations to list."""

    participant: Annotated[str, Field(min_length=1, max_length=512), ONE_LINE] | None = None
    channel: Channel | None = Field(None, description="sms and mms share their conversations")
    unread: Flag = Field(default=False, description="only those with unread messages")


class TranscriptQuery(Paged):
    """Which messages of a conversation to list."""

    order: Literal["oldest", "newest"] = Field(
        "oldest", description="which comes first; `newest` to begin at the end, as a chat does"
    )


def list_conversations(connection: Connection, query: ConversationQuery) -> ConversationPage:
    """One page of conversations. Raises InvalidError where the cursor is not valid."""
    if query.participant is not None or query.unread:
        last = aliased(Message, _newest().lateral())
        matching = _summaries(last).join(last, true())
    else:
        # From the newest message on, past those that are not the last of their conversation.
        last = aliased(Message)
        newest = _newest(last.conversation_id).with_only_columns(Message.id)
        matching = _summaries(last).join(last, last.conversation_id == Conversation.id)
        matching = matching.where(last.id == newest.scalar_subquery())
    if query.participant is not None:
        found = [*spellings(query.participant)]
        matching = matching.where(Conversation.participants.overlap(found))
    if query.channel is not None:
        matching = matching.where(Conversation.channel_family == addresses.family(query.channel))
    if query.unread:
        matching = matching.where(exists().where(*UNREAD))
    rows, next_cursor = page_of(connection, matching, last.id.expression, query)
    return ConversationPage(conversations=[_view(row) for row in rows], next_cursor=next_cursor)


def get_conversation(connection: Connection, conversation_id: int) -> ConversationView:
    """Return a conversation.

    Raises:
        NotFoundError: There is no such conversation.
    """
    last = aliased(Message, _newest().lateral())
    wanted = _summaries(last).outerjoin(last, true()).where(Conversation.id == conversation_id)
    row = connection.execute(wanted).mappings().one_or_none()
    if row is None:
        raise NotFoundError(f"There is no conversation {conversation_id}.")
    return _view(row)


def list_conversation_messages(
    connection: Connection, conversation_id: int, query: TranscriptQuery
) -> ConversationMessagePage:
    """One page of what was written. Raises InvalidError where the cursor is not valid."""
    # As a range and not as an equality, so that no other index has this order: one conversation
    # that was busy long ago must not be looked for from the newest message of all.
    here = Message.conversation_id
    written = (
        select(*SUMMARY, Message.subject, func.left(Message.body, SHOWN_CHARACTERS).label("body"))
        .where(here >= conversation_id, here <= conversation_id)
        .order_by(here.asc() if query.order == "oldest" else here.desc())
    )
    rows, next_cursor = page_of(
        connection,
        written,
        Message.id.expression,
        query,
        oldest_first=query.order == "oldest",
    )
    files = _files(connection, [row["id"] for row in rows])
    messages = [
        ConversationMessage.model_validate({**row, "attachments": files[row["id"]]}) for row in rows
    ]
    return ConversationMessagePage(messages=messages, next_cursor=next_cursor)


def _newest(conversation_id: Any = Conversation.id) -> Select[Message]:
    return (
        select(Message)
        .where(Message.conversation_id == conversation_id)
        .order_by(Message.id.desc())
        .limit(1)
    )


def _summaries(last: type[Message]) -> Select[*tuple[Any, ...]]:
    """Conversations with their `last` message, whose id is the `id` of the row."""
    count = select(func.count()).select_from(Message)
    return select(
        Conversation.id.label("conversation_id"),
        Conversation.channel_family,
        Conversation.participants,
        Conversation.created_at.label("began_at"),
        count.where(IN_CONVERSATION).scalar_subquery().label("message_count"),
        count.where(*UNREAD).scalar_subquery().label("unread_count"),
        last.id,
        last.direction,
        last.channel,
        last.status,
        last.sender.label("from"),
        last.recipient.label("to"),
        last.subject,
        func.left(last.body, PREVIEW_CHARACTERS).label("preview"),
        last.created_at,
    ).select_from(Conversation)


def _view(row: RowMapping) -> ConversationView:
    return ConversationView(
        id=row["conversation_id"],
        channel_family=row["channel_family"],
        participants=row["participants"],
        created_at=row["began_at"],
        message_count=row["message_count"],
        unread_count=row["unread_count"],
        last_message=None if row["id"] is None else LastMessage.model_validate(row),
    )


def _files(connection: Connection, message_ids: list[int]) -> defaultdict[int, list[RowMapping]]:
    found: defaultdict[int, list[RowMapping]] = defaultdict(list)
    files = (
        select(Attachment.message_id, *FILE)
        .where(Attachment.message_id.in_(message_ids))
        .order_by(Attachment.id)
    )
    for row in connection.execute(files).mappings():
        found[row["message_id"]].append(row)
    return found
