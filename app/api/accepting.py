"""Into the outbox by HTTP: throttled, once for each Idempotency-Key, in one transaction."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from flask import Response, current_app
from pydantic import BaseModel, ValidationError
from sqlalchemy import Connection

from app import db
from app.agents import agents
from app.api import idempotency, security
from app.api.operations import Answer, respond
from app.api.problems import field_errors, invalid
from app.api.throttle import Throttle
from app.outbox.store import store
from app.queries.views import Status
from app.submission.schema import MessageFields
from app.submission.submission import Submission
from app.submission.validation import Channel, RefusedError, suppressed, validate

BUSY = frozenset({HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS})


class Accepted(BaseModel):
    """A message that will be sent."""

    id: int
    status: Status
    conversation_id: int
    reference: str | None


def once(accept: Callable[[Connection, str], Answer]) -> Response:
    """What `accept` answers, given a transaction and the name of the client, or answered before to
    the same request. Raises ProblemError where the client must wait."""
    client = security.client().name
    throttle: Throttle = current_app.extensions["throttle"]
    throttle.count(client)
    key = idempotency.key()
    with db.transaction() as connection:

        def answer() -> Response:
            return respond(accept(connection, client))

        return idempotency.once(connection, client, key, answer) if key else answer()


def read(model: type[MessageFields], body: Any, channel: Channel | None) -> Submission:
    """The submission of a message that was submitted as `body`. Raises ProblemError with all that is
    wrong with it."""
    try:
        return validate(model.model_validate(body), agents(), channel=channel)
    except ValidationError as error:
        raise invalid(field_errors(error)) from None
    except RefusedError as error:
        raise invalid(error.errors) from None


def accept_one(connection: Connection, message: Submission, client: str) -> Answer:
    """Put a message into the outbox, unless its recipients are suppressed: then ProblemError."""
    [faults] = suppressed(connection, [message])
    if faults:
        raise invalid(faults)
    [kept] = store(connection, [message], client)
    return Answer(
        Accepted(
            id=kept.id,
            status="outbox",
            conversation_id=kept.conversation_id,
            reference=message.reference,
        ),
        HTTPStatus.ACCEPTED,
        {"Location": f"/api/messages/{kept.id}"},
    )
