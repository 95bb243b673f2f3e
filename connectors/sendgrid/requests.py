"""What a message becomes at SendGrid: the JSON of v3 Mail Send.

https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send and, beside it,
"Limitations" and "Errors".
"""

import re
from base64 import b64encode
from collections.abc import Mapping
from email.header import Header
from email.headerregistry import Address
from typing import Annotated, Any

from pydantic import BaseModel, Field, StrictInt, StrictStr, ValidationError

from connectors.base import Attachment, OutboundMessage, Rejected
from connectors.toolkit.mail.mime import mailbox

UID_ARGUMENT = "postroom_uid"
"""The custom argument that carries our own id, and comes back with every event."""

# The first twelve are reserved by SendGrid. Message-ID is ours, for answers name it.
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
    """What a message may ask of SendGrid in its metadata, whose other keys are not ours."""

    categories: Annotated[list[StrictStr], Field(max_length=10)] = Field(default_factory=list)
    send_at: StrictInt | None = None


def request_of(
    message: OutboundMessage, sender: str | None, *, sandbox_mode: bool
) -> dict[str, Any]:
    """The request that has SendGrid send `message`, from `sender` where it names none itself; in
    sandbox mode to be checked only. Raises Rejected where it cannot be put into one.
    """
    if message.payload is not None:
        raise Rejected("payload_not_supported", "SendGrid takes no MIME text: use body and html")
    if not (sender := message.sender or sender):
        raise Rejected("sender_missing", "neither the message nor its agent names a sender")
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
    # SendGrid takes neither null nor an empty list for what is simply not there.
    return {name: value for name, value in request.items() if value not in (None, [])}


def _options(metadata: Mapping[str, Any]) -> _Options:
    try:
        return _Options.model_validate(metadata)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise Rejected("metadata_invalid", f"{where}: {first['msg']}") from None


def _recipients(message: OutboundMessage) -> dict[str, list[dict[str, str]]]:
    """To, cc and bcc, each address once: SendGrid refuses a message that repeats one."""
    fields = {"to": (message.recipient,), "cc": message.cc, "bcc": message.bcc}
    recipients: dict[str, list[dict[str, str]]] = {}
    seen: set[str] = set()
    for field, texts in fields.items():
        for text in texts:
            address = _address(text, "recipient")
            if address.addr_spec.casefold() not in seen:
                seen.add(address.addr_spec.casefold())
                recipients.setdefault(field, []).append(_named(address, quoted=True))
    return recipients


def _address(text: str, role: str) -> Address:
    try:
        return mailbox(text)
    except ValueError as error:
        raise Rejected("address_invalid", f"{role}: {error}") from error


def _named(address: Address, *, quoted: bool = False) -> dict[str, str]:
    name = address.display_name
    if not name:
        return {"email": address.addr_spec}
    # In a recipient's name, and only there, SendGrid takes a comma or a semicolon for the end of
    # the name, unless we quote it: https://github.com/sendgrid/sendgrid-python/issues/291
    if quoted and re.search("[,;]", name):
        name = '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'
    return {"email": address.addr_spec, "name": name}


def _headers(message: OutboundMessage, author: Address) -> dict[str, str]:
    for name in message.headers:
        if name.lower() in RESERVED_HEADERS:
            raise Rejected("header_not_allowed", f"{name} is not for the message to set")
    encoded = {
        # SendGrid leaves it to us to encode what is not ASCII (RFC 2047).
        name: value if value.isascii() else Header(value, "utf-8").encode(linesep="")
        for name, value in message.headers.items()
    }
    return {"Message-ID": f"<{message.uid}@{author.domain}>", **encoded}


def _file(attachment: Attachment) -> dict[str, str]:
    if attachment.content is None:
        raise Rejected("attachment_without_content", "an attachment has no content")
    return {
        "content": b64encode(attachment.content).decode(),
        # SendGrid allows neither parameters in the type nor these characters in a name.
        "type": attachment.content_type.partition(";")[0].strip(),
        "filename": re.sub(r"[;,\r\n]", "_", attachment.name),
        "disposition": "attachment",
    }
