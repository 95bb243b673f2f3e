"""Conversations: read them, answer in them, and note how far they were read."""

from http import HTTPStatus
from typing import Any

from flask import Response
from pydantic import Field
from sqlalchemy import Connection

from app import conversations, db
from app.api import idempotency
from app.api.accepting import BUSY, Accepted, accept_one, once
from app.api.operations import Answer, Operation, Section
from app.api.problems import ProblemError
from app.fields import Whole
from app.queries.conversations import ConversationQuery, TranscriptQuery, find, page, transcript
from app.queries.views import ConversationMessagePage, ConversationPage, ConversationView
from app.submission.replies import reply_in
from app.submission.schema import ReplyRequest, Request

section = Section("conversations")

THE_LAST = 2**63 - 1


class ReadRequest(Request):
    """How far a conversation was read."""

    up_to: Whole = Field(
        THE_LAST, ge=1, le=THE_LAST, description="the id of the last message read; else all were"
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
    """List conversations, the one with the newest message first.

    One in which somebody writes while you go from page to page moves to the beginning.
    """
    with db.autocommit() as connection:
        return page(connection, query)


@section.serve(
    Operation(
        "GET",
        "/api/conversations/<id:conversation_id>",
        {HTTPStatus.OK: ConversationView},
        scope="read",
    )
)
def get_conversation(conversation_id: int) -> ConversationView:
    """Read one conversation, without its messages."""
    with db.autocommit() as connection:
        return _existing(connection, conversation_id)


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
    """Read what was written in a conversation, by both sides, from its beginning.

    With `order=newest` the pages go from the end of the conversation to its beginning.
    """
    with db.autocommit() as connection:
        _existing(connection, conversation_id)
        return transcript(connection, conversation_id, query)


@section.serve(
    Operation(
        "POST",
        "/api/conversations/<id:conversation_id>/messages",
        {HTTPStatus.ACCEPTED: Accepted},
        scope="submit",
        body=ReplyRequest,
        checked=False,
        headers=idempotency.HEADERS,
        problems=BUSY,
    )
)
def reply(conversation_id: int, body: Any) -> Response:
    """Submit a message in a conversation, mostly just its `body`.

    It goes to whoever wrote last, from the address that was written to, by the agent that brought
    it. Whatever you give yourself holds, as long as the message stays in the conversation. 409
    says that nobody can be answered there.
    """

    def answer(connection: Connection, client: str) -> Answer:
        conversation = _existing(connection, conversation_id)
        return accept_one(connection, reply_in(connection, conversation, body), client)

    return once(answer)


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
    """Mark the messages of a conversation as read, to one of them or all.

    What was read once stays so.
    """
    with db.autocommit() as connection:
        conversations.mark_read(connection, conversation_id, (body or ReadRequest()).up_to)
        return _existing(connection, conversation_id)


def _existing(connection: Connection, conversation_id: int) -> ConversationView:
    found = find(connection, conversation_id)
    if found is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, f"there is no conversation {conversation_id}")
    return found
