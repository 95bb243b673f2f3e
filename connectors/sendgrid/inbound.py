"""Read the e-mail that SendGrid's Inbound Parse posts, either raw or parsed into form fields.

Source:
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
from connectors.toolkit.mail.text import decode_text

MAX_PARTS = 1000
MAX_RECIPIENTS = 100
"""RFC 5321 (4.5.3.1.8) requires no more."""
MAX_COPIED_BYTES = 256 * 1024 * 1024
"""The size of the message times its recipients, each of whom has a copy of it."""

# Results of SendGrid's own checks, which cannot be derived from the message.
CHECKS = ("SPF", "dkim", "sender_ip", "spam_score")

_NEW_HEADER = re.compile(rb"\r?\n(?![ \t])")
# Headers that describe the original body, which is rebuilt from the fields.
_BODY_HEADER = re.compile(rb"(content-[^:\s]*|mime-version)\s*:", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Field:
    """A part of the multipart form."""

    content: bytes
    content_type: str
    filename: str | None


def read_inbound(request: WebhookRequest) -> list[Inbound | Receipt]:
    """Return one inbound message per envelope recipient, or the receipts of a bounce or complaint.

    Raises:
        MalformedWebhook: The request is not one that Inbound Parse makes.
    """
    fields = _fields(request)
    raw = fields.get("email") or fields.get("rawEmail")
    if raw is None and "headers" not in fields:
        raise MalformedWebhook("neither a raw message nor its headers are present")
    content = raw.content if raw else _rebuild(fields)
    sender, recipients = _envelope(fields)
    if len(content) * len(recipients) > MAX_COPIED_BYTES:
        raise MalformedWebhook(f"the copies for all recipients exceed {MAX_COPIED_BYTES} bytes")
    checks = {name: _text(fields, name) for name in CHECKS if name in fields}
    items = read_mail(content, envelope_sender=sender, envelope_recipients=recipients)
    return [
        replace(item, metadata={**item.metadata, **checks}) if isinstance(item, Inbound) else item
        for item in items
    ]


def _fields(request: WebhookRequest) -> dict[str, _Field]:
    """Return the parts of the multipart form by name, including files."""
    media_type, options = multipart.parse_options_header(request.headers.get("content-type", ""))
    if media_type != "multipart/form-data":
        raise MalformedWebhook("the body is not a multipart form")
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
        raise MalformedWebhook("the multipart form cannot be parsed") from None
    return fields


def _envelope(fields: Mapping[str, _Field]) -> tuple[str, list[str]]:
    match _json(fields, "envelope"):
        case {"from": str(sender), "to": [*recipients]} if recipients and all(
            isinstance(recipient, str) for recipient in recipients
        ):
            if len(recipients) > MAX_RECIPIENTS:
                raise MalformedWebhook(f"the envelope has more than {MAX_RECIPIENTS} recipients")
            return sender, recipients
    raise MalformedWebhook("the envelope with its sender and recipients is missing")


def _rebuild(fields: Mapping[str, _Field]) -> bytes:
    """Return a MIME message with the original headers and a body built from the fields."""
    mail = EmailMessage(policy=SMTP)
    if "text" in fields or "html" not in fields:
        mail.set_content(_text(fields, "text"))
    if "html" in fields:
        set_html = mail.add_alternative if "text" in fields else mail.set_content
        set_html(_text(fields, "html"), subtype="html")
    infos = _json(fields, "attachment-info")
    for name, field in fields.items():
        if re.fullmatch("attachment[0-9]+", name):
            _attach(mail, field, infos.get(name) if isinstance(infos, dict) else None)
    # The boundaries depend on the content only, so that a repeated request yields the same bytes.
    digest = hashlib.sha256(b"".join(field.content for field in fields.values())).hexdigest()
    for number, part in enumerate(mail.walk()):
        if part.is_multipart():
            part.set_boundary(f"{digest}.{number}")
    return b"\r\n".join([*_headers(fields), bytes(mail)])


def _headers(fields: Mapping[str, _Field]) -> list[bytes]:
    """Return the original headers, or if there are none, those that SendGrid has read."""
    original = fields["headers"].content.strip()
    if original:
        return [header for header in _NEW_HEADER.split(original) if not _BODY_HEADER.match(header)]
    return [
        f"{name}: {' '.join(_text(fields, name).split())}".encode()
        for name in ("from", "to", "cc", "subject")
        if name in fields
    ]


def _attach(mail: EmailMessage, field: _Field, info: Any) -> None:
    info = info if isinstance(info, dict) else {}
    content_type = str(info.get("type") or field.content_type).partition(";")[0].strip().lower()
    maintype, _, subtype = content_type.partition("/")
    # Composite types may not be encoded in base64 (RFC 2045, section 6.4).
    if not re.fullmatch(r"[\w.+-]+/[\w.+-]+", content_type) or maintype in {"multipart", "message"}:
        maintype, subtype = "application", "octet-stream"
    filename = str(info.get("filename") or info.get("name") or field.filename or "attachment")
    mail.add_attachment(
        field.content,
        maintype=maintype,
        subtype=subtype,
        filename="".join(character for character in filename if character.isprintable()),
    )


def _text(fields: Mapping[str, _Field], name: str) -> str:
    """Return a field decoded with its charset from `charsets`; invalid bytes become U+FFFD."""
    if name not in fields:
        return ""
    charsets = _json(fields, "charsets")
    charset = charsets.get(name) if isinstance(charsets, dict) else None
    return decode_text(fields[name].content, str(charset or "utf-8"))


def _json(fields: Mapping[str, _Field], name: str) -> Any:
    """Return a field parsed as JSON, or None if it is missing or invalid."""
    try:
        return json.loads(fields[name].content)
    except (KeyError, ValueError, RecursionError):
        return None
