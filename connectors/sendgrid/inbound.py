"""Mail that SendGrid's Inbound Parse posts to us: as it came (raw), or taken apart into fields.

https://www.twilio.com/docs/sendgrid/for-developers/parsing-email/setting-up-the-inbound-parse-webhook
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any

import multipart

from connectors.base import Inbound, MalformedWebhook, Receipt, WebhookRequest
from connectors.toolkit.mail.incoming import read_mail

MAX_PARTS = 1000

# What SendGrid itself found out about the mail, and nobody could tell from the mail alone.
FINDINGS = ("SPF", "dkim", "sender_ip", "spam_score")

_NEW_FIELD = re.compile(rb"\r?\n(?![ \t])")
# What describes a body that we make anew.
_OF_THE_BODY = re.compile(rb"(content-[^:]*|mime-version)\s*:", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Field:
    """One part of the form."""

    content: bytes
    content_type: str
    filename: str | None


def mails(request: WebhookRequest) -> list[Inbound | Receipt]:
    """The mail, once for each of its envelope recipients; what is no mail to read but a bounce or a
    complaint becomes receipts. Raises MalformedWebhook."""
    fields = _fields(request)
    raw = fields.get("email") or fields.get("rawEmail")
    if raw is None and "headers" not in fields:
        raise MalformedWebhook("neither a raw mail nor its headers")
    content = raw.content if raw else _put_together(fields)
    sender, recipients = _envelope(fields)
    findings = {name: _text(fields, name) for name in FINDINGS if name in fields}
    items = [
        item
        for recipient in recipients
        for item in read_mail(content, envelope_sender=sender, envelope_recipient=recipient)
    ]
    return [
        replace(item, metadata={**item.metadata, **findings}) if isinstance(item, Inbound) else item
        for item in items
    ]


def _fields(request: WebhookRequest) -> dict[str, _Field]:
    """The parts of the form by name, files among them."""
    media_type, options = multipart.parse_options_header(request.headers.get("content-type", ""))
    if media_type != "multipart/form-data":
        raise MalformedWebhook("the body is no multipart form")
    fields = {}
    content = bytearray()
    try:
        with multipart.PushMultipartParser(
            options.get("boundary", ""), max_segment_count=MAX_PARTS
        ) as parser:
            for event in parser.parse(request.body):
                if isinstance(event, multipart.MultipartSegment):
                    part, content = event, bytearray()
                elif event is not None:
                    content += event
                else:
                    kind = part.content_type or "application/octet-stream"
                    fields[part.name] = _Field(bytes(content), kind, part.filename)
    except multipart.MultipartError:
        raise MalformedWebhook("the multipart form is broken") from None
    return fields


def _envelope(fields: Mapping[str, _Field]) -> tuple[str, list[str]]:
    match _json(fields, "envelope"):
        case {"from": str(sender), "to": [*recipients]} if recipients and all(
            isinstance(recipient, str) for recipient in recipients
        ):
            return sender, recipients
    raise MalformedWebhook("no envelope with its sender and recipients")


def _put_together(fields: Mapping[str, _Field]) -> bytes:
    """The mail as one MIME text again: its own headers, and a body made of the fields."""
    mail = EmailMessage(policy=SMTP)
    if "text" in fields or "html" not in fields:
        mail.set_content(_text(fields, "text"))
    if "html" in fields:
        make = mail.add_alternative if "text" in fields else mail.set_content
        make(_text(fields, "html"), subtype="html")
    described = _json(fields, "attachment-info")
    for name, field in fields.items():
        if re.fullmatch("attachment[0-9]+", name):
            _attach(mail, field, described.get(name) if isinstance(described, dict) else None)
    # Made of the content, so that a mail that is posted again is the same to the byte.
    digest = hashlib.sha256(b"".join(field.content for field in fields.values())).hexdigest()
    for number, part in enumerate(mail.walk()):
        if part.is_multipart():
            part.set_boundary(f"{digest}.{number}")
    own = [
        field
        for field in _NEW_FIELD.split(fields["headers"].content.strip())
        if not _OF_THE_BODY.match(field)
    ]
    return b"\r\n".join([*own, bytes(mail)])


def _attach(mail: EmailMessage, field: _Field, described: Any) -> None:
    info = described if isinstance(described, dict) else {}
    kind = str(info.get("type") or field.content_type).partition(";")[0].strip().lower()
    maintype, _, subtype = kind.partition("/")
    # The two composite types may not be in base64 (RFC 2045, 6.4).
    if not re.fullmatch(r"[\w.+-]+/[\w.+-]+", kind) or maintype in {"multipart", "message"}:
        maintype, subtype = "application", "octet-stream"
    filename = str(info.get("filename") or info.get("name") or field.filename or "attachment")
    mail.add_attachment(
        field.content,
        maintype=maintype,
        subtype=subtype,
        filename="".join(character for character in filename if character.isprintable()),
    )


def _text(fields: Mapping[str, _Field], name: str) -> str:
    """A field by the charset that `charsets` names for it; what is no text becomes U+FFFD."""
    if name not in fields:
        return ""
    charsets = _json(fields, "charsets")
    charset = charsets.get(name) if isinstance(charsets, dict) else None
    try:
        text = fields[name].content.decode(str(charset or "utf-8"), "replace")
    except (LookupError, UnicodeError):
        text = fields[name].content.decode(errors="replace")
    # Some charsets decode to lone surrogates, which no mail can hold.
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def _json(fields: Mapping[str, _Field], name: str) -> Any:
    """A field that is JSON; None where there is none to read."""
    try:
        return json.loads(fields[name].content)
    except (KeyError, ValueError, RecursionError):
        return None
