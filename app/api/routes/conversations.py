"""Read conversations, reply in them and mark them as read."""

from http import HTTPStatus

from flask import Response
from pydantic import ConfigDict, Field

from app import conversations, db
from app.api import security
from app.api.idempotency import idempotent
from app.api.operations import Operation, Section
from app.api.routes.messages import Accepted, accepted
from app.fields import Request, Whole
from app.outbox.store import store
from app.queries import conversations as queries
from app.queries.conversations import ConversationQuery, TranscriptQuery
from app.queries.views import ConversationMessagePage, ConversationPage, ConversationView
from app.submission.replies import validate_reply
from app.submission.schema import ReplyRequest
from app.submission.suppressions import check_suppressions

section = Section("conversations")

MAX_ID = 2**63 - 1


class ReadRequest(Request):
    """The messages to mark as read."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"up_to": 4711}]})

    up_to: Whole = Field(
        MAX_ID,
        ge=1,
        le=MAX_ID,
        description="The id of the last message that was read; by default, all are marked.",
    )


@section.serve(
    Operation(
        "GET",
        "/api/conversations",
        {HTTPStatus.OK: ConversationPage},
        scope="read",
        query=ConversationQuery,
    )
)
def list_conversations(query: ConversationQuery) -> ConversationPage:
    """List conversations, most recent message first.

    A conversation that gets a new message while you page through the list moves to the first page.
    """
    with db.autocommit() as connection:
        return queries.list_conversations(connection, query)


@section.serve(
    Operation(
        "GET",
        "/api/conversations/<id:conversation_id>",
        {HTTPStatus.OK: ConversationView},
        scope="read",
    )
)
def get_conversation(conversation_id: int) -> ConversationView:
    """Get a conversation, without its messages."""
    with db.autocommit() as connection:
        return queries.get_conversation(connection, conversation_id)


@section.serve(
    Operation(
        "GET",
        "/api/conversations/<id:conversation_id>/messages",
        {HTTPStatus.OK: ConversationMessagePage},
        scope="read",
        query=TranscriptQuery,
    )
)
def list_conversation_messages(
    conversation_id: int, query: TranscriptQuery
) -> ConversationMessagePage:
    """List the messages of a conversation, in both directions, oldest first.

    Use `order=newest` to page from the end of the conversation to its beginning.
    """
    with db.autocommit() as connection:
        queries.get_conversation(connection, conversation_id)
        return queries.list_conversation_messages(connection, conversation_id, query)


@section.serve(
    Operation(
        "POST",
        "/api/conversations/<id:conversation_id>/messages",
        {HTTPStatus.ACCEPTED: Accepted},
        scope="submit",
        submits=True,
        body=ReplyRequest,
    )
)
def reply(conversation_id: int, body: ReplyRequest) -> Response:
    """Reply in a conversation.

    Only the content of the message is required. By default it goes to whoever wrote last, from the
    address that they wrote to, through the agent that received their message. You can set any of
    these fields, as long as the message stays in the conversation. 409 means that there is nobody
    to reply to.
    """
    client = security.client().name
    with db.transaction() as connection, idempotent(connection, client) as exchange:
        if exchange.response is None:
            conversation = queries.get_conversation(connection, conversation_id)
            submission = validate_reply(connection, conversation, body)
            check_suppressions(connection, submission)
            [stored] = store(connection, [submission], client)
            exchange.response = accepted(submission, stored)
        return exchange.response


@section.serve(
    Operation(
        "POST",
        "/api/conversations/<id:conversation_id>/read",
        {HTTPStatus.OK: ConversationView},
        scope="submit",
        body=ReadRequest,
        body_required=False,
    )
)
def mark_read(conversation_id: int, body: ReadRequest | None) -> ConversationView:
    """Mark the messages of a conversation as read.

    This cannot be undone.
    """
    with db.autocommit() as connection:
        conversations.mark_read(connection, conversation_id, (body or ReadRequest()).up_to)
        return queries.get_conversation(connection, conversation_id)
