"""Submit messages, read them, take them back, and send them again."""

from http import HTTPStatus
from typing import Annotated, Any

from flask import Response
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from app import db
from app.api import idempotency
from app.api.accepting import BUSY, Accepted, accept_one, once, read
from app.api.operations import Answer, Operation, Section
from app.api.problems import FieldError, ProblemError, Rejection, invalid
from app.outbox.store import store
from app.queries.messages import MessageQuery, find, page
from app.queries.views import MessageDetail, MessagePage
from app.submission.schema import (
    MAX_MESSAGES,
    EmailRequest,
    MessageFields,
    MessageRequest,
    SmsRequest,
)
from app.submission.submission import Submission
from app.submission.validation import Channel, suppressed

section = Section("messages")


class AcceptedItem(Accepted):
    """A message of a list that will be sent."""

    index: int = Field(description="its place in the list, from 0")


class AcceptedList(BaseModel):
    """What became of each message of a list."""

    accepted: list[AcceptedItem]
    rejected: list[Rejection]


@section.serve(
    Operation(
        "POST",
        "/api/messages",
        {HTTPStatus.ACCEPTED: Accepted | AcceptedList},
        scope="submit",
        body=MessageRequest
        | Annotated[list[MessageRequest], Field(min_length=1, max_length=MAX_MESSAGES)],
        checked=False,
        headers=idempotency.HEADERS,
        problems=BUSY,
    )
)
def submit(body: Any) -> Response:
    """Submit a message, or a list of up to 1,000.

    Of a list, the good ones are accepted and the others rejected, each with its reasons; where
    not one is good the answer is 422, with the same list of reasons.
    """
    return _submit(MessageRequest, body, None)


@section.serve(
    Operation(
        "POST",
        "/api/messages/sms",
        {HTTPStatus.ACCEPTED: Accepted},
        scope="submit",
        body=SmsRequest,
        checked=False,
        headers=idempotency.HEADERS,
        problems=BUSY,
    )
)
def submit_sms(body: Any) -> Response:
    """Submit an SMS or MMS."""
    return _submit(SmsRequest, body, "sms")


@section.serve(
    Operation(
        "POST",
        "/api/messages/email",
        {HTTPStatus.ACCEPTED: Accepted},
        scope="submit",
        body=EmailRequest,
        checked=False,
        headers=idempotency.HEADERS,
        problems=BUSY,
    )
)
def submit_email(body: Any) -> Response:
    """Submit an e-mail."""
    return _submit(EmailRequest, body, "email")


@section.serve(
    Operation(
        "GET", "/api/messages", {HTTPStatus.OK: MessagePage}, scope="read", query=MessageQuery
    )
)
def list_messages(query: MessageQuery) -> MessagePage:
    """List messages, newest first."""
    with db.autocommit() as connection:
        return page(connection, query)


@section.serve(
    Operation("GET", "/api/messages/<id:message_id>", {HTTPStatus.OK: MessageDetail}, scope="read")
)
def get_message(message_id: int) -> MessageDetail:
    """Read one message, with its content and all that happened to it."""
    with db.autocommit() as connection:
        found = find(connection, message_id)
    if found is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, f"there is no message {message_id}")
    return found


def _submit(model: type[MessageFields], body: Any, channel: Channel | None) -> Response:
    def answer(connection: Connection, client: str) -> Answer:
        if isinstance(body, list) and model is MessageRequest:
            return _accept_list(connection, body, client)
        return accept_one(connection, read(model, body, channel), client)

    return once(answer)


def _accept_list(connection: Connection, bodies: list[Any], client: str) -> Answer:
    if not 0 < len(bodies) <= MAX_MESSAGES:
        raise invalid([FieldError(field="", reason=f"give 1 to {MAX_MESSAGES} messages")])
    submissions: dict[int, Submission] = {}
    rejected: list[Rejection] = []
    for index, body in enumerate(bodies):
        try:
            submissions[index] = read(MessageRequest, body, None)
        except ProblemError as problem:
            rejected.append(Rejection(index=index, errors=problem.errors))
    for index, faults in zip(
        [*submissions], suppressed(connection, [*submissions.values()]), strict=True
    ):
        if faults:
            del submissions[index]
            rejected.append(Rejection(index=index, errors=faults))
    rejected.sort(key=lambda one: one.index)
    if not submissions:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "no message was accepted", rejected=rejected
        )
    kept = store(connection, list(submissions.values()), client)
    return Answer(
        AcceptedList(
            accepted=[
                AcceptedItem(
                    index=index,
                    id=one.id,
                    status="outbox",
                    conversation_id=one.conversation_id,
                    reference=message.reference,
                )
                for (index, message), one in zip(submissions.items(), kept, strict=True)
            ],
            rejected=rejected,
        ),
        HTTPStatus.ACCEPTED,
    )
