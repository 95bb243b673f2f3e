"""Build the JSON request of SendGrid's v3 Mail Send.

Source: https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send and the pages
"Limitations" and "Errors" next to it.
"""

import re
from base64 import b64encode
from collections.abc import Mapping
from email.header import Header
from email.headerregistry import Address
from typing import Annotated, Any

from pydantic import BaseModel, Field, StrictInt, StrictStr, ValidationError

from connectors.base import Attachment, OutboundMessage, Rejected
from connectors.toolkit.mail.addresses import parse_mailbox
from connectors.toolkit.mail.mime import is_reserved_header

UID_ARGUMENT = "postroom_uid"
"""The custom argument that contains the message's uid. SendGrid returns it with every event."""

# SendGrid reserves all but the last. Postroom sets Message-ID, to match replies to the message.
RESERVED_HEADERS = frozenset(
    {
        "x-sg-id",
        "x-sg-eid",
        "received",
        "dkim-signature",
        "content-type",
        "content-transfer-encoding",
        "to",
        "from",
        "subject",
        "reply-to",
        "cc",
        "bcc",
        "message-id",
    }
)


class _Options(BaseModel):
    """The metadata of a message that are passed to SendGrid. Other keys are ignored."""

    categories: Annotated[list[StrictStr], Field(max_length=10)] = Field(default_factory=list)
    send_at: StrictInt | None = None


def build_request(
    message: OutboundMessage, sender: str | None, *, sandbox_mode: bool
) -> dict[str, Any]:
    """Return the request to send a message.

    Args:
        message: The message to send.
        sender: The sender to use if the message does not specify one.
        sandbox_mode: Whether SendGrid should only validate the message.

    Raises:
        Rejected: The message cannot be sent through SendGrid.
    """
    if message.payload is not None:
        raise Rejected("payload_not_supported", "payload: not supported. Use body and html.")
    if not (sender := message.sender or sender):
        raise Rejected(
            "sender_missing", "sender: missing. Set it in the message or in the agent's settings."
        )
    author = _address(sender, "sender")
    options = _options(message.metadata)
    contents = {"text/plain": message.body, "text/html": message.html}
    request: dict[str, Any] = {
        "personalizations": [_recipients(message)],
        "from": _named(author),
        "subject": message.subject,
        "content": [{"type": kind, "value": text} for kind, text in contents.items() if text],
        "attachments": [_file(attachment) for attachment in message.attachments],
        "headers": _headers(message, author),
        "custom_args": {UID_ARGUMENT: message.uid},
        "categories": options.categories,
        "send_at": options.send_at,
    }
    if message.reply_to:
        request["reply_to"] = _named(_address(message.reply_to, "reply_to"))
    if sandbox_mode:
        request["mail_settings"] = {"sandbox_mode": {"enable": True}}
    # SendGrid rejects null and empty lists.
    return {name: value for name, value in request.items() if value not in (None, [])}


def _options(metadata: Mapping[str, Any]) -> _Options:
    try:
        return _Options.model_validate(metadata)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(map(str, ("metadata", *first["loc"])))
        raise Rejected("metadata_invalid", f"{field}: {first['msg']}") from None


def _recipients(message: OutboundMessage) -> dict[str, list[dict[str, str]]]:
    """Return to, cc and bcc, each address once: SendGrid rejects repeated addresses."""
    fields = {"to": (message.recipient,), "cc": message.cc, "bcc": message.bcc}
    recipients: dict[str, list[dict[str, str]]] = {}
    seen: set[str] = set()
    for field, texts in fields.items():
        for text in texts:
            address = _address(text, "recipient")
            if address.addr_spec.casefold() not in seen:
                seen.add(address.addr_spec.casefold())
                recipients.setdefault(field, []).append(_named(address))
    return recipients


def _address(text: str, role: str) -> Address:
    try:
        return parse_mailbox(text)
    except ValueError as error:
        raise Rejected("address_invalid", f"{role}: {error}") from error


def _named(address: Address) -> dict[str, str]:
    name = address.display_name
    return {"email": address.addr_spec, **({"name": name} if name else {})}


def _headers(message: OutboundMessage, author: Address) -> dict[str, str]:
    for name in message.headers:
        if name.lower() in RESERVED_HEADERS or is_reserved_header(name):
            raise Rejected("header_not_allowed", f"headers: {name} is reserved. Remove it.")
    encoded = {
        # SendGrid does not encode non-ASCII header values itself (RFC 2047).
        name: value if value.isascii() else Header(value, "utf-8").encode(linesep="")
        for name, value in message.headers.items()
    }
    return {"Message-ID": f"<{message.uid}@{author.domain}>", **encoded}


def _file(attachment: Attachment) -> dict[str, str]:
    if attachment.content is None:
        raise Rejected("attachment_without_content", "attachments: a file has no content")
    return {
        "content": b64encode(attachment.content).decode(),
        # SendGrid rejects parameters in the type, and these characters in the name.
        "type": attachment.content_type.partition(";")[0].strip(),
        "filename": re.sub(r"[;,\r\n]", "_", attachment.name),
        "disposition": "attachment",
    }
