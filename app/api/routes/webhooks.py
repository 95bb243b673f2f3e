"""Receive the webhooks of providers: two addresses for each agent.

A webhook is verified, stored and only then answered, so the provider need not repeat it after
a 2xx response. Webhooks with e-mail, and large ones, are stored unparsed: workers parse them.
"""

import re
from datetime import UTC, datetime
from http import HTTPStatus

import structlog
from flask import Response, request

from app import db
from app.agents import agents
from app.api.operations import Operation, Section
from app.api.problems import ProblemError
from app.errors import NotFoundError
from app.inbound import unparsed, webhooks
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

RESPONSES = {HTTPStatus.OK: "*/*", HTTPStatus.NO_CONTENT: "*/*"}
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
        method, f"/api/webhooks/<agent>/{kind}", RESPONSES, public=True, problems=PROBLEMS
    )


@section.serve(_operation("POST", "inbound"))
def receive_message(agent: str) -> Response:
    """Receive a message from a provider.

    The request must be signed as the provider specifies. 404 means that the agent has no secret to
    verify it with. The response has the format that the provider expects.
    """
    return _receive(agent, "inbound")


@section.serve(_operation("GET", "inbound"))
def receive_message_by_get(agent: str) -> Response:
    """Receive a message from a provider that uses GET."""
    return _receive(agent, "inbound")


@section.serve(_operation("POST", "status"))
def receive_status(agent: str) -> Response:
    """Receive receipts from a provider.

    The request must be signed as the provider specifies. 404 means that the agent has no secret to
    verify it with. The response has the format that the provider expects.
    """
    return _receive(agent, "status")


@section.serve(_operation("GET", "status"))
def receive_status_by_get(agent: str) -> Response:
    """Receive receipts from a provider that uses GET."""
    return _receive(agent, "status")


def _receive(agent: str, kind: WebhookKind) -> Response:
    try:
        call = _webhook_request(kind)
        verified = webhooks.verify(agents(), agent, call)
    except webhooks.NoWebhookError as error:
        raise NotFoundError(str(error)) from None
    except WebhookError as error:
        log.warning("webhook rejected", agent=agent, kind=kind, reason=str(error))
        raise ProblemError(_status(error), str(error)) from None
    with db.transaction() as connection:
        if verified.items is None:
            unparsed.store(connection, agent, verified.profile, call)
            log.info("webhook stored unparsed", agent=agent, kind=kind, size_bytes=len(call.body))
        else:
            stored = webhooks.store(connection, agents(), agent, verified.profile, verified.items)
            log.info(
                "webhook stored",
                agent=agent,
                kind=kind,
                items=len(verified.items),
                new_receipts=stored.receipts,
                new_messages=stored.messages,
            )
    response = verified.response
    return Response(response.body, response.status, content_type=response.content_type)


def _webhook_request(kind: WebhookKind) -> WebhookRequest:
    request.max_content_length = settings().webhook_limit_bytes
    return WebhookRequest(
        kind=kind,
        method=request.method,
        # The raw URL, because signatures cover it character by character.
        url=settings().base_url + _target(),
        headers={name.lower(): value for name, value in request.headers},
        body=request.get_data(cache=False),
        received_at=datetime.now(UTC),
    )


def _target() -> str:
    """Return path and query as received, also of an absolute target (RFC 9112, section 3.2.2)."""
    target: str = request.environ["RAW_URI"]
    return target if target.startswith("/") else re.sub(r"^[A-Za-z][\w+.-]*://[^/?]*", "", target)


def _status(error: WebhookError) -> HTTPStatus:
    match error:
        case MalformedWebhook():
            return HTTPStatus.BAD_REQUEST
        case UnverifiedWebhook():
            return HTTPStatus.FORBIDDEN
        case _:
            return HTTPStatus.UNAUTHORIZED
