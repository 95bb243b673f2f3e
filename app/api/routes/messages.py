"""Submit, read, cancel and replay messages."""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Annotated, Any

from flask import Response, current_app
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection, select

from app import db
from app.agents import agents
from app.api import security
from app.api.idempotency import idempotent
from app.api.operations import Answer, Operation, Section, respond
from app.api.problems import ProblemError, Rejection
from app.api.throttle import Throttle
from app.errors import ConflictError, FieldError, InvalidError, NotFoundError
from app.fields import parse
from app.models import Message
from app.outbox.cancel import cancel
from app.outbox.replay import replay
from app.outbox.states import Status
from app.outbox.store import Stored, store
from app.queries import messages as queries
from app.queries.messages import MessageQuery
from app.queries.views import MessageDetail, MessagePage
from app.submission.schema import (
    MAX_MESSAGES,
    EmailRequest,
    MessageFields,
    MessageRequest,
    SmsRequest,
)
from app.submission.submission import Submission
from app.submission.suppressions import check_suppressions, find_suppressed
from app.submission.validation import validate
from connectors.base import Channel

section = Section("messages")


class Accepted(BaseModel):
    """An accepted message."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"id": 4711, "status": "outbox", "conversation_id": 17, "reference": "order-4711"}
            ]
        }
    )

    id: int
    status: Status
    conversation_id: int
    reference: str | None


class AcceptedItem(Accepted):
    """An accepted message of a list."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": 4711,
                    "status": "outbox",
                    "conversation_id": 17,
                    "reference": "order-4711",
                    "index": 0,
                }
            ]
        }
    )

    index: int = Field(description="Position in the list, from 0.")


class AcceptedList(BaseModel):
    """The result for each message of a list."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "accepted": [
                        {
                            "id": 4711,
                            "status": "outbox",
                            "conversation_id": 17,
                            "reference": "order-4711",
                            "index": 0,
                        }
                    ],
                    "rejected": [
                        {
                            "index": 1,
                            "errors": [
                                {
                                    "field": "to",
                                    "reason": "not a possible phone number",
                                }
                            ],
                        }
                    ],
                }
            ]
        }
    )

    accepted: list[AcceptedItem]
    rejected: list[Rejection]


class Changed(BaseModel):
    """A message and its new status."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"id": 4711, "status": "cancelled"}]})

    id: int
    status: Status


@section.serve(
    Operation(
        "POST",
        "/api/messages",
        {HTTPStatus.ACCEPTED: Accepted | AcceptedList},
        scope="submit",
        submits=True,
        body=MessageRequest
        | Annotated[list[MessageRequest], Field(min_length=1, max_length=MAX_MESSAGES)],
        checked=False,
    )
)
def submit(body: Any) -> Response:
    """Submit a message, or a list of up to 1,000 messages.

    The valid messages of a list are accepted; each of the others is rejected with its errors. If
    no message of the list is valid, the response is 422 with the errors of each message.
    """
    if isinstance(body, list):
        return _submit_list(body)
    return _submit(parse(MessageRequest, body), None)


@section.serve(
    Operation(
        "POST",
        "/api/messages/sms",
        {HTTPStatus.ACCEPTED: Accepted},
        scope="submit",
        submits=True,
        body=SmsRequest,
    )
)
def submit_sms(body: SmsRequest) -> Response:
    """Submit an SMS or MMS."""
    return _submit(body, "sms")


@section.serve(
    Operation(
        "POST",
        "/api/messages/email",
        {HTTPStatus.ACCEPTED: Accepted},
        scope="submit",
        submits=True,
        body=EmailRequest,
    )
)
def submit_email(body: EmailRequest) -> Response:
    """Submit an e-mail."""
    return _submit(body, "email")


@section.serve(
    Operation(
        "GET", "/api/messages", {HTTPStatus.OK: MessagePage}, scope="read", query=MessageQuery
    )
)
def list_messages(query: MessageQuery) -> MessagePage:
    """List messages, newest first."""
    with db.autocommit() as connection:
        return queries.list_messages(connection, query)


@section.serve(
    Operation("GET", "/api/messages/<id:message_id>", {HTTPStatus.OK: MessageDetail}, scope="read")
)
def get_message(message_id: int) -> MessageDetail:
    """Get a message, with its content and its history."""
    with db.autocommit() as connection:
        return queries.get_message(connection, message_id)


@section.serve(
    Operation(
        "POST",
        "/api/messages/<id:message_id>/cancel",
        {HTTPStatus.OK: Changed},
        scope="operate",
        problems=frozenset({HTTPStatus.CONFLICT}),
    )
)
def cancel_message(message_id: int) -> Changed:
    """Cancel a message that has not started sending.

    After a response of 200 the message will not be sent. 409 means that it is too late.
    """
    return _change(cancel, message_id)


@section.serve(
    Operation(
        "POST",
        "/api/messages/<id:message_id>/replay",
        {HTTPStatus.OK: Changed},
        scope="operate",
        problems=frozenset({HTTPStatus.CONFLICT}),
    )
)
def replay_message(message_id: int) -> Changed:
    """Replay a message: send it again.

    The message is due at once, and its attempts are counted from 0 again. 409 means that it has
    not finished, or that it was sent and may still be delivered.
    """
    return _change(replay, message_id)


def accepted(submission: Submission, stored: Stored) -> Response:
    """Return the response to an accepted message."""
    body = Accepted(
        id=stored.id,
        status="outbox",
        conversation_id=stored.conversation_id,
        reference=submission.reference,
    )
    location = {"Location": f"/api/messages/{stored.id}"}
    return respond(Answer(body, HTTPStatus.ACCEPTED, location))


def _submit(message: MessageFields, default_channel: Channel | None) -> Response:
    client = security.client().name
    with db.transaction() as connection, idempotent(connection, client) as exchange:
        if exchange.response is None:
            submission = validate(message, agents(), default_channel=default_channel)
            check_suppressions(connection, submission)
            [stored] = store(connection, [submission], client)
            exchange.response = accepted(submission, stored)
        return exchange.response


def _submit_list(messages: list[Any]) -> Response:
    if not 0 < len(messages) <= MAX_MESSAGES:
        raise InvalidError([FieldError("", f"must be a list of 1 to {MAX_MESSAGES} messages")])
    client = security.client().name
    throttle: Throttle = current_app.extensions["throttle"]
    throttle.count_rest(client, len(messages))
    with db.transaction() as connection, idempotent(connection, client) as exchange:
        if exchange.response is None:
            submissions, rejected = _validate_list(connection, messages)
            stored = store(connection, list(submissions.values()), client)
            exchange.response = _accepted_list(submissions, stored, rejected)
        return exchange.response


def _validate_list(
    connection: Connection, messages: list[Any]
) -> tuple[dict[int, Submission], list[Rejection]]:
    """Return the valid messages by their position, and the rejected ones.

    Raises:
        ProblemError: No message is valid.
    """
    submissions: dict[int, Submission] = {}
    errors: dict[int, list[FieldError]] = {}
    for index, message in enumerate(messages):
        try:
            submissions[index] = validate(parse(MessageRequest, message), agents())
        except InvalidError as error:
            errors[index] = error.errors
    suppressed = find_suppressed(connection, [*submissions.values()])
    for index, found in zip([*submissions], suppressed, strict=True):
        if found:
            del submissions[index]
            errors[index] = found
    rejected = [Rejection(index=index, errors=errors[index]) for index in sorted(errors)]
    if not submissions:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "All messages are invalid.", rejected=rejected
        )
    return submissions, rejected


def _accepted_list(
    submissions: dict[int, Submission], stored: list[Stored], rejected: list[Rejection]
) -> Response:
    items = [
        AcceptedItem(
            index=index,
            id=one.id,
            status="outbox",
            conversation_id=one.conversation_id,
            reference=submission.reference,
        )
        for (index, submission), one in zip(submissions.items(), stored, strict=True)
    ]
    return respond(Answer(AcceptedList(accepted=items, rejected=rejected), HTTPStatus.ACCEPTED))


def _change(change: Callable[[Connection, Sequence[int]], list[int]], message_id: int) -> Changed:
    with db.transaction() as connection:
        changed = change(connection, [message_id])
        status = connection.execute(
            select(Message.status).where(Message.id == message_id)
        ).scalar_one_or_none()
    if status is None:
        raise NotFoundError(f"There is no message {message_id}.")
    if not changed:
        raise ConflictError(f"Message {message_id} is {status}.")
    return Changed(id=message_id, status=status)
