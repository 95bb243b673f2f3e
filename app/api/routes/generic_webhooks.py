"""Receive messages without an agent, in Postroom's own format and authenticated by a token."""

import hashlib
import json
import uuid
from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Any, Literal

import structlog
from flask import request
from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, StrictFloat

from app import db
from app.api.operations import Operation, Section
from app.db import storable
from app.errors import FieldError, InvalidError
from app.fields import Json, JsonObject, Whole
from app.inbound import messages
from app.settings import settings
from app.submission.schema import MAX_ATTACHMENTS
from connectors.base import Channel, MalformedWebhook
from connectors.toolkit.generic_messages import read_message

section = Section("generic_webhooks")
log = structlog.stdlib.get_logger(__name__)


def _storable_text(value: Any) -> Any:
    return storable(value) if isinstance(value, str) else value


# A message must not be lost because of a character that PostgreSQL cannot store.
Storable = BeforeValidator(_storable_text)
Text = Annotated[str, Storable]
Address = Annotated[str, Field(max_length=320, pattern=r"\S"), Storable]
ProviderId = Annotated[str, Field(max_length=255), Storable] | Whole


class InboundRequest(BaseModel):
    """An inbound message. Unknown fields are stored in its metadata."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, Json]

    from_: Address = Field(alias="from")
    to: Address
    subject: Text | None = None
    body: Text | None = None
    html: Text | None = None
    attachments: list[Text | JsonObject] | None = Field(
        None,
        max_length=MAX_ATTACHMENTS,
        description="URLs, or objects with `url`, or with `filename` and base64 `content`.",
    )
    timestamp: Text | Whole | StrictFloat | None = Field(
        None, description="ISO 8601, or seconds since 1970."
    )


class InboundSmsRequest(InboundRequest):
    """An inbound SMS or MMS."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "from": "+18045551234",
                    "to": "+12016661234",
                    "body": "Hello",
                    "provider_message_id": "message-1",
                }
            ]
        }
    )

    type: Literal["sms", "mms"] | None = Field(
        None, description="By default `mms` with attachments and `sms` without."
    )
    provider_message_id: ProviderId | None = Field(
        None,
        validation_alias=AliasChoices("provider_message_id", "messaging_provider_id"),
        description="Identifies the message if it is repeated."
        " Also accepted as `messaging_provider_id`.",
    )


class InboundEmailRequest(InboundRequest):
    """An inbound e-mail. Addresses may be Markdown links; the body may be HTML."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "from": "ann@example.org",
                    "to": "shop@example.com",
                    "subject": "Hello",
                    "body": "<p>Hello</p>",
                }
            ]
        }
    )

    provider_message_id: ProviderId | None = Field(
        None,
        validation_alias=AliasChoices("provider_message_id", "xillio_id"),
        description="Identifies the message if it is repeated. Also accepted as `xillio_id`.",
    )


class Received(BaseModel):
    """A stored message, now or when it arrived first."""

    status: Literal["received", "duplicate"]
    message_id: int
    conversation_id: int


@section.before_request
def _limit_body() -> None:
    request.max_content_length = settings().webhook_limit_bytes


@section.serve(
    Operation(
        "POST",
        "/api/webhooks/sms",
        {HTTPStatus.OK: Received},
        scope="receive",
        body=InboundSmsRequest,
    )
)
def receive_sms(body: InboundSmsRequest) -> Received:
    """Receive an SMS or MMS.

    A repeated message, with the same `provider_message_id` and type, is stored once. Without that
    id a message is a repeat if it has the same content and `timestamp`; without either, every
    request stores a new message.
    """
    if not (body.body or body.subject or body.html or body.attachments):
        raise InvalidError([FieldError("body", "required: the message has no content")])
    channel = body.type or ("mms" if body.attachments else "sms")
    return _store(body, channel, body.provider_message_id)


@section.serve(
    Operation(
        "POST",
        "/api/webhooks/email",
        {HTTPStatus.OK: Received},
        scope="receive",
        body=InboundEmailRequest,
    )
)
def receive_email(body: InboundEmailRequest) -> Received:
    """Receive an e-mail.

    A repeated message, with the same `provider_message_id`, is stored once. Without that id
    a message is a repeat if it has the same content and `timestamp`; without either, every request
    stores a new message.
    """
    return _store(body, "email", body.provider_message_id)


def _store(body: InboundRequest, channel: Channel, provider_id: str | int | None) -> Received:
    fields = body.model_dump(by_alias=True, include={*InboundRequest.model_fields})
    fields |= {"type": channel, "id": provider_id}
    try:
        message = read_message(fields, _key(fields))
    except MalformedWebhook as error:
        field, _, reason = str(error).partition(": ")
        raise InvalidError([FieldError(field, reason)]) from None
    message = replace(message, metadata=body.model_extra or {})
    with db.transaction() as connection:
        stored = messages.store(connection, None, message)
    status: Literal["received", "duplicate"] = "received" if stored.is_new else "duplicate"
    log.info("webhook stored", message_id=stored.id, status=status)
    return Received(status=status, message_id=stored.id, conversation_id=stored.conversation_id)


def _key(fields: dict[str, Any]) -> str:
    """Return the key that identifies repeats of a message without an id."""
    if fields["timestamp"] is None:
        return str(uuid.uuid4())
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
