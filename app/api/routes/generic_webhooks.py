"""Where messages come in that no agent's provider brings: in common words, and with a token."""

import hashlib
import json
import uuid
from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Any, Literal

import structlog
from flask import request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictFloat

from app import db
from app.api.operations import Operation, Section
from app.db import storable
from app.errors import FieldError, InvalidError
from app.fields import Json, JsonObject, Whole
from app.inbound import messages as inbox
from app.settings import settings
from app.submission.schema import MAX_ATTACHMENTS
from connectors.base import Channel, MalformedWebhook
from connectors.toolkit.generic_messages import read_message

section = Section("generic_webhooks")
log = structlog.stdlib.get_logger(__name__)


def _legible(value: Any) -> Any:
    return storable(value) if isinstance(value, str) else value


# A character that cannot be kept is not worth the loss of its message.
Legible = BeforeValidator(_legible)
Text = Annotated[str, Legible]
Address = Annotated[str, Field(max_length=320, pattern=r"\S"), Legible]
ProviderId = Annotated[str, Field(max_length=255), Legible] | Whole


class Call(BaseModel):
    """A message from outside. Whatever else it says is kept in its metadata."""

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
        description="addresses, or objects with `url` or with `filename` and `content` in base64",
    )
    timestamp: Text | Whole | StrictFloat | None = Field(
        None, description="in ISO 8601, or in seconds since 1970"
    )


class SmsCall(Call):
    """A text message from outside."""

    type: Literal["sms", "mms"] | None = Field(None, description="else by whether it has files")
    messaging_provider_id: ProviderId | None = Field(
        None, description="by which the message is known where it comes again"
    )


class EmailCall(Call):
    """An e-mail from outside. An address may be a link in Markdown; a body may be HTML."""

    xillio_id: ProviderId | None = Field(
        None, description="by which the message is known where it comes again"
    )


class Received(BaseModel):
    """What became of a call: its message is kept, now or from before."""

    status: Literal["received", "duplicate"]
    message_id: int
    conversation_id: int


@section.before_request
def limit() -> None:
    """These bodies have a limit of their own."""
    request.max_content_length = settings().webhook_limit_bytes


@section.serve(
    Operation(
        "POST",
        "/api/webhooks/sms",
        {HTTPStatus.OK: Received},
        scope="receive",
        body=SmsCall,
    )
)
def receive_sms(body: SmsCall) -> Received:
    """Take an SMS or MMS.

    The same `messaging_provider_id` and type again is the same message again. Without that id the
    same content at the same `timestamp` is, and without either every call brings a new message.
    """
    channel = body.type or ("mms" if body.attachments else "sms")
    return _keep(body, channel, body.messaging_provider_id)


@section.serve(
    Operation(
        "POST",
        "/api/webhooks/email",
        {HTTPStatus.OK: Received},
        scope="receive",
        body=EmailCall,
    )
)
def receive_email(body: EmailCall) -> Received:
    """Take an e-mail.

    The same `xillio_id` again is the same message again. Without that id the same content at the
    same `timestamp` is, and without either every call brings a new message.
    """
    return _keep(body, "email", body.xillio_id)


def _keep(call: Call, channel: Channel, provider_id: str | int | None) -> Received:
    fields = call.model_dump(by_alias=True, include={*Call.model_fields})
    fields |= {"type": channel, "id": provider_id}
    try:
        message = read_message(fields, _key(fields))
    except MalformedWebhook as fault:
        field, _, reason = str(fault).partition(": ")
        raise InvalidError([FieldError(field, reason)]) from None
    with db.transaction() as connection:
        kept = inbox.store(connection, None, replace(message, metadata=call.model_extra or {}))
    status: Literal["received", "duplicate"] = "received" if kept.is_new else "duplicate"
    log.info("webhook kept", message_id=kept.id, status=status)
    return Received(status=status, message_id=kept.id, conversation_id=kept.conversation_id)


def _key(fields: dict[str, Any]) -> str:
    """What a message without an id is known by."""
    if fields["timestamp"] is None:
        return str(uuid.uuid4())
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
