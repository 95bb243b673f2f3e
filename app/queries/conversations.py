"""List conversations and their messages.

A conversation does not store its last message, so that no message waits for a lock on its
conversation. The index of the messages finds it instead.
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
from app.queries.messages import ATTACHMENT_COLUMNS, spellings
from app.queries.pages import Paged, page_of
from app.queries.views import (
    ConversationMessage,
    ConversationMessagePage,
    ConversationPage,
    ConversationView,
    LastMessage,
    columns,
)
from connectors.base import Channel

PREVIEW_CHARACTERS = 160
BODY_CHARACTERS = 65_536

IN_CONVERSATION = Message.conversation_id == Conversation.id
UNREAD = (
    IN_CONVERSATION,
    Message.id > Conversation.read_up_to,
    Message.direction == "inbound",
)


class ConversationQuery(Paged):
    """Filters for conversations, and the page to return."""

    participant: Annotated[str, Field(min_length=1, max_length=512), ONE_LINE] | None = Field(
        None, description="An address, in any notation."
    )
    channel: Channel | None = Field(None, description="SMS and MMS share their conversations.")
    unread: Flag = Field(default=False, description="Only conversations with unread messages.")


class TranscriptQuery(Paged):
    """The messages of a conversation to return."""

    order: Literal["oldest", "newest"] = Field(
        "oldest", description="Which message comes first. A chat window would use `newest`."
    )


def list_conversations(connection: Connection, query: ConversationQuery) -> ConversationPage:
    """Return a page of conversations, most recent message first.

    Raises:
        InvalidError: The cursor is not valid.
    """
    if query.participant is not None or query.unread:
        last = aliased(Message, _newest().lateral())
        matching = _summaries(last).join(last, true())
    else:
        # Without a selective filter it is faster to walk the messages from the newest one on and
        # skip those that are not the last of their conversation.
        last = aliased(Message)
        newest = _newest(last.conversation_id).with_only_columns(Message.id)
        matching = _summaries(last).join(last, last.conversation_id == Conversation.id)
        matching = matching.where(last.id == newest.scalar_subquery())
    if query.participant is not None:
        participants = [*spellings(query.participant)]
        matching = matching.where(Conversation.participants.overlap(participants))
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
    """Return a page of the messages of a conversation.

    Raises:
        InvalidError: The cursor is not valid.
    """
    # A range instead of an equality, so that only the index of conversations has this order.
    # Otherwise the planner may scan all messages from the newest one to find a conversation that
    # ended long ago.
    key = Message.conversation_id
    body = func.left(Message.body, BODY_CHARACTERS)
    matching = (
        select(*columns(ConversationMessage, Message, body=body))
        .where(key >= conversation_id, key <= conversation_id)
        .order_by(key.asc() if query.order == "oldest" else key.desc())
    )
    rows, next_cursor = page_of(
        connection,
        matching,
        Message.id.expression,
        query,
        oldest_first=query.order == "oldest",
    )
    attachments = _attachments(connection, [row["id"] for row in rows])
    messages = [
        ConversationMessage.model_validate({**row, "attachments": attachments[row["id"]]})
        for row in rows
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
    """Select conversations with their `last` message, whose id is the `id` of the row."""
    count = select(func.count()).select_from(Message)
    preview = func.left(last.body, PREVIEW_CHARACTERS)
    return select(
        Conversation.id.label("conversation_id"),
        Conversation.channel_family,
        Conversation.participants,
        Conversation.created_at.label("started_at"),
        count.where(IN_CONVERSATION).scalar_subquery().label("message_count"),
        count.where(*UNREAD).scalar_subquery().label("unread_count"),
        *columns(LastMessage, last, preview=preview),
    ).select_from(Conversation)


def _view(row: RowMapping) -> ConversationView:
    return ConversationView(
        id=row["conversation_id"],
        channel_family=row["channel_family"],
        participants=row["participants"],
        created_at=row["started_at"],
        message_count=row["message_count"],
        unread_count=row["unread_count"],
        last_message=None if row["id"] is None else LastMessage.model_validate(row),
    )


def _attachments(
    connection: Connection, message_ids: list[int]
) -> defaultdict[int, list[RowMapping]]:
    found: defaultdict[int, list[RowMapping]] = defaultdict(list)
    statement = (
        select(Attachment.message_id, *ATTACHMENT_COLUMNS)
        .where(Attachment.message_id.in_(message_ids))
        .order_by(Attachment.id)
    )
    for row in connection.execute(statement).mappings():
        found[row["message_id"]].append(row)
    return found
