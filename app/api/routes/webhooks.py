"""Where providers call: each agent has a place for messages and one for receipts.

A call is verified, then kept, then answered: whoever gets a 2xx may forget it.
"""

from datetime import UTC, datetime
from http import HTTPStatus

import structlog
from flask import Response, request

from app import db
from app.agents import agents
from app.api.operations import Operation, Section
from app.api.problems import ProblemError
from app.inbound import webhooks as receiving
from app.settings import settings
from connectors.base import (
    MalformedWebhook,
    UnverifiedWebhook,
    WebhookError,
    WebhookKind,
    WebhookRequest,
)

section = Section("webhooks")
log = structlog.stdlib.get_logger(__name__)

ANSWERS = {HTTPStatus.OK: "*/*", HTTPStatus.NO_CONTENT: "*/*"}
PROBLEMS = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.SERVICE_UNAVAILABLE,
    }
)


def _operation(method: str, kind: WebhookKind) -> Operation:
    return Operation(
        method, f"/api/webhooks/<agent>/{kind}", ANSWERS, public=True, problems=PROBLEMS
    )


@section.serve(_operation("POST", "inbound"))
def receive_message(agent: str) -> Response:
    """Take a message from a provider.

    It must be signed in the provider's own way; without a secret to check it by there is no such
    place. The answer has the form that the provider expects.
    """
    return _receive(agent, "inbound")


@section.serve(_operation("GET", "inbound"))
def receive_message_by_get(agent: str) -> Response:
    """Take a message from a provider that calls with GET."""
    return _receive(agent, "inbound")


@section.serve(_operation("POST", "status"))
def receive_status(agent: str) -> Response:
    """Take receipts from a provider."""
    return _receive(agent, "status")


@section.serve(_operation("GET", "status"))
def receive_status_by_get(agent: str) -> Response:
    """Take receipts from a provider that calls with GET."""
    return _receive(agent, "status")


def _receive(agent: str, kind: WebhookKind) -> Response:
    try:
        profile, received = receiving.verify(agents(), agent, _call(kind))
    except receiving.NoWebhookError as unknown:
        raise ProblemError(HTTPStatus.NOT_FOUND, str(unknown)) from None
    except WebhookError as refusal:
        log.warning("webhook refused", agent=agent, kind=kind, reason=str(refusal))
        raise ProblemError(_status(refusal), str(refusal)) from None
    with db.transaction() as connection:
        kept = receiving.store(connection, agents(), agent, profile, received.items)
    log.info(
        "webhook kept",
        agent=agent,
        kind=kind,
        items=len(received.items),
        new_receipts=kept.receipts,
        new_messages=kept.messages,
    )
    answer = received.response
    return Response(answer.body, answer.status, content_type=answer.content_type)


def _call(kind: WebhookKind) -> WebhookRequest:
    request.max_content_length = settings().webhook_limit_bytes
    return WebhookRequest(
        kind=kind,
        method=request.method,
        # Just as it came: a signature covers every letter of it.
        url=settings().base_url + request.environ["RAW_URI"],
        headers={name.lower(): value for name, value in request.headers},
        body=request.get_data(cache=False),
        received_at=datetime.now(UTC),
    )


def _status(refusal: WebhookError) -> HTTPStatus:
    match refusal:
        case MalformedWebhook():
            return HTTPStatus.BAD_REQUEST
        case UnverifiedWebhook():
            return HTTPStatus.FORBIDDEN
        case _:
            return HTTPStatus.UNAUTHORIZED
