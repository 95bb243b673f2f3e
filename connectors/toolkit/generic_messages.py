"""Calls in common words: JSON that is no provider's own, for want of a better agreement.

A message from outside is `{"from", "to", "body"}` and, where there is more to say, `type` (its
channel), `subject`, `html`, `attachments`, `timestamp` and the provider's id of it. A report on a
message of ours is `{"id", "status"}`, and perhaps `to`, `code`, `reason`, `timestamp`, and `uid`,
our own id of the message. Ids go by any of the names in `ID_NAMES`.
"""

import base64
import json
import math
import mimetypes
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any, get_args
from urllib.parse import unquote, urlsplit
from uuid import UUID

from connectors.base import Attachment, Channel, Inbound, MalformedWebhook, Receipt, ReceiptKind
from connectors.toolkit.http.replies import excerpt, message_id, printable

ID_NAMES = ("id", "messageId", "message_id", "messaging_provider_id", "xillio_id")

KIND_OF_STATUS: Mapping[str, ReceiptKind] = {
    "accepted": "queued",
    "pending": "queued",
    "queued": "queued",
    "sending": "queued",
    "sent": "sent",
    "delivered": "delivered",
    "read": "opened",
    "opened": "opened",
    "clicked": "clicked",
    "deferred": "deferred",
    "bounced": "bounced",
    "undelivered": "bounced",
    "undeliverable": "bounced",
    "error": "failed",
    "expired": "failed",
    "failed": "failed",
    "rejected": "failed",
    "complained": "complained",
    "complaint": "complained",
    "spam": "complained",
    "unsubscribed": "unsubscribed",
    "resubscribed": "resubscribed",
}
# What an Inbound holds elsewhere than in its metadata.
TAKEN = frozenset(
    {"from", "to", "type", "subject", "body", "html", "attachments", "timestamp", *ID_NAMES}
)

# An address as some clients write it where they take everything for Markdown.
_MARKDOWN_ADDRESS = re.compile(r"\[[^\]]*\]\(mailto:([^)?]*)[^)]*\)")
_MARKUP = re.compile(r"<[a-zA-Z!/][^>]*>")


def read_object(body: bytes) -> dict[str, Any]:
    """The body as a JSON object. Raises MalformedWebhook."""
    try:
        fields = json.loads(body, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError):
        raise MalformedWebhook("the body is no JSON") from None
    if not isinstance(fields, dict):
        raise MalformedWebhook("the body is no JSON object")
    return fields


def _refuse(constant: str) -> None:
    """Infinity and NaN are no JSON, and cannot be stored as such."""
    raise ValueError(constant)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def read_report(fields: Mapping[str, Any], key: str) -> Receipt:
    """What a report says of a message of ours; `key` tells it from other reports. Raises
    MalformedWebhook."""
    status = fields.get("status")
    if not isinstance(status, str):
        raise MalformedWebhook("status: expected a text")
    provider_id, uid = _provider_id(fields), _uid(fields)
    if provider_id is None and uid is None:
        raise MalformedWebhook(f"no id of the message, by any name of {', '.join(ID_NAMES)}")
    kind = KIND_OF_STATUS.get(status.strip().lower(), "unrecognised")
    recipient = fields.get("to")
    recipient = _address(recipient) if isinstance(recipient, str) else None
    reason = fields.get("reason")
    return Receipt(
        key=key,
        kind=kind,
        provider_message_id=provider_id,
        message_uid=uid,
        recipient=recipient,
        occurred_at=_moment(fields.get("timestamp")),
        code=message_id(fields.get("code")),
        detail=(excerpt(reason, (recipient,)) or None) if isinstance(reason, str) else None,
        suppress=kind in {"complained", "unsubscribed"},
        payload=fields,
    )


def read_message(fields: Mapping[str, Any], key: str) -> Inbound:
    """A message from outside; `key` tells it from others where it has no id of its provider.
    Raises MalformedWebhook."""
    sender, recipient = _address(_text(fields, "from")), _address(_text(fields, "to"))
    attachments = _attachments(fields.get("attachments"))
    channel = _channel(fields, sender, attachments)
    provider_id = _provider_id(fields)
    body = _optional_text(fields, "body") or ""
    html = _optional_text(fields, "html")
    if html is None and channel == "email" and _MARKUP.search(body):
        html = body
    return Inbound(
        key=f"{channel}:{provider_id}" if provider_id else key,
        channel=channel,
        sender=sender,
        recipient=recipient,
        body=body,
        html=html,
        subject=_optional_text(fields, "subject"),
        provider_message_id=provider_id,
        attachments=attachments,
        metadata={name: value for name, value in fields.items() if name not in TAKEN},
        occurred_at=_moment(fields.get("timestamp")),
    )


def _channel(
    fields: Mapping[str, Any], sender: str, attachments: tuple[Attachment, ...]
) -> Channel:
    channels: tuple[Channel, ...] = get_args(Channel)
    for channel in channels:
        if channel == fields.get("type"):
            return channel
    if "@" in sender:
        return "email"
    return "mms" if attachments else "sms"


def _provider_id(fields: Mapping[str, Any]) -> str | None:
    return next((found for name in ID_NAMES if (found := message_id(fields.get(name)))), None)


def _uid(fields: Mapping[str, Any]) -> str | None:
    """Our own id of a message, which went out with it as Idempotency-Key."""
    try:
        return str(UUID(fields.get("uid")))
    except (ValueError, TypeError, AttributeError):
        return None


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value.strip():
        raise MalformedWebhook(f"{name}: expected a text that is not empty")
    return value


def _optional_text(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise MalformedWebhook(f"{name}: expected a text")
    return value


def _address(text: str) -> str:
    return _MARKDOWN_ADDRESS.sub(r"\1", text).strip()


def _moment(value: Any) -> datetime | None:
    """A moment in ISO 8601, without an offset in UTC, or in seconds since 1970; None for what is
    neither."""
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, TypeError, OverflowError, OSError):
        return None


def _attachments(value: Any) -> tuple[Attachment, ...]:
    """Files as addresses, or as objects with `url` or with `content` in base64."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise MalformedWebhook("attachments: expected a list")
    return tuple(_attachment(item, number) for number, item in enumerate(value, start=1))


def _attachment(item: Any, number: int) -> Attachment:
    fields = {"url": item} if isinstance(item, str) else item
    if not isinstance(fields, dict):
        raise MalformedWebhook("attachments: expected addresses or objects")
    url = _optional_text(fields, "url")
    content = _optional_text(fields, "content")
    if (url is None) == (content is None):
        raise MalformedWebhook("attachments: each needs either url or content")
    if url is not None and not re.match("https?://[^/]", url):
        raise MalformedWebhook("attachments: an address is none of http:// or https://")
    name = _file_name(_optional_text(fields, "filename") or _path(url)) or f"attachment-{number}"
    guessed = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Attachment(
        name=name,
        content_type=_optional_text(fields, "content_type") or guessed,
        content=_bytes(content) if content is not None else None,
        url=url,
    )


def _path(url: str | None) -> str:
    try:
        return unquote(urlsplit(url or "").path)
    except ValueError:
        raise MalformedWebhook("attachments: an address is none") from None


def _file_name(path: str) -> str:
    return printable(PurePosixPath(path).name)


def _bytes(content: str) -> bytes:
    try:
        return base64.b64decode(content, validate=True)
    except ValueError:
        raise MalformedWebhook("attachments: a content is no base64") from None
