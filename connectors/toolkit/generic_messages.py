"""Postroom's own JSON webhook format, for senders without a dedicated connector.

An inbound message is `{"from", "to", "body"}` with the optional fields `type` (its channel),
`subject`, `html`, `attachments`, `timestamp` and the provider's message id. A status report is
`{"id", "status"}` with the optional fields `to`, `code`, `reason`, `timestamp` and `uid`, the uid
of the message in Postroom. The message id may have any of the names in `ID_NAMES`.
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
from connectors.toolkit.excerpts import excerpt, message_id, printable

MAX_ATTACHMENTS = 250
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
# Fields that are not copied to an inbound message's metadata because it has them already.
NOT_METADATA = frozenset(
    {"from", "to", "type", "subject", "body", "html", "attachments", "timestamp", *ID_NAMES}
)

# An e-mail address as clients write it that treat every text as Markdown.
_MARKDOWN_ADDRESS = re.compile(r"\[[^\[\]]*\]\(mailto:([^\[()?]*)(?:\?[^\[()]*)?\)")
_MARKUP = re.compile(r"<[a-zA-Z!/][^<>]*>")


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the body of a webhook as a JSON object.

    Raises:
        MalformedWebhook: The body is not a JSON object.
    """
    try:
        fields = json.loads(body, parse_constant=_reject_constant, parse_float=_parse_finite)
    except (ValueError, RecursionError):
        raise MalformedWebhook("the body is not JSON") from None
    if not isinstance(fields, dict):
        raise MalformedWebhook("the body is not a JSON object")
    return fields


def _reject_constant(constant: str) -> None:
    """Reject Infinity and NaN, which are not JSON and cannot be stored."""
    raise ValueError(constant)


def _parse_finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def read_report(fields: Mapping[str, Any], key: str) -> Receipt:
    """Return the receipt in a status report.

    Args:
        fields: The JSON object.
        key: The key of this report, the same when it is repeated.

    Raises:
        MalformedWebhook: A required field is missing, or a field has the wrong type.
    """
    status = fields.get("status")
    if not isinstance(status, str):
        raise MalformedWebhook("status: must be a string")
    provider_id, uid = _provider_id(fields), _uid(fields)
    if provider_id is None and uid is None:
        raise MalformedWebhook(f"one of {', '.join(ID_NAMES)} or uid is required")
    kind = KIND_OF_STATUS.get(status.strip().lower(), "unrecognised")
    recipient = fields.get("to")
    recipient = _address(recipient) if isinstance(recipient, str) else None
    reason = fields.get("reason")
    detail = reason if isinstance(reason, str) else ""
    if kind == "unrecognised" and status.strip():
        detail = f"status {status.strip()}: {detail}".removesuffix(": ")
    return Receipt(
        key=key,
        kind=kind,
        provider_message_id=provider_id,
        message_uid=uid,
        recipient=recipient,
        occurred_at=_timestamp(fields.get("timestamp")),
        code=message_id(fields.get("code")),
        detail=excerpt(detail, (recipient,)) or None,
        suppress=kind in {"complained", "unsubscribed"},
        payload=fields,
    )


def read_message(fields: Mapping[str, Any], key: str) -> Inbound:
    """Return an inbound message.

    Args:
        fields: The JSON object.
        key: The key of the message if it has no message id of its provider.

    Raises:
        MalformedWebhook: A required field is missing, or a field has the wrong type.
    """
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
        metadata={name: value for name, value in fields.items() if name not in NOT_METADATA},
        occurred_at=_timestamp(fields.get("timestamp")),
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
    """Return the uid of our message, which was sent with it as Idempotency-Key."""
    try:
        return str(UUID(fields.get("uid")))
    except (ValueError, TypeError, AttributeError):
        return None


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value.strip():
        raise MalformedWebhook(f"{name}: must be a string that is not empty")
    return value


def _optional_text(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise MalformedWebhook(f"{name}: must be a string")
    return value


def _address(text: str) -> str:
    return _MARKDOWN_ADDRESS.sub(r"\1", text).strip()


def _timestamp(value: Any) -> datetime | None:
    """Return a timestamp given in ISO 8601 (UTC unless it has an offset) or in seconds since 1970.

    None if the value is neither.
    """
    try:
        if isinstance(value, str):
            parsed = datetime.fromisoformat(value)
            return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, TypeError, OverflowError, OSError):
        return None


def _attachments(value: Any) -> tuple[Attachment, ...]:
    """Return the files, given as URLs or as objects with a `url` or with base64 `content`."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise MalformedWebhook("attachments: must be an array")
    if len(value) > MAX_ATTACHMENTS:
        raise MalformedWebhook(f"attachments: must be at most {MAX_ATTACHMENTS}")
    return tuple(_attachment(item, number) for number, item in enumerate(value, start=1))


def _attachment(item: Any, number: int) -> Attachment:
    fields = {"url": item} if isinstance(item, str) else item
    if not isinstance(fields, dict):
        raise MalformedWebhook("attachments: must contain only URLs and objects")
    url = _optional_text(fields, "url")
    content = _optional_text(fields, "content")
    if (url is None) == (content is None):
        raise MalformedWebhook("attachments: each must have either url or content")
    if url is not None and not re.match("https?://[^/]", url):
        raise MalformedWebhook("attachments: each url must begin with http:// or https://")
    name = _file_name(_optional_text(fields, "filename") or _path(url)) or f"attachment-{number}"
    usual_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Attachment(
        name=name,
        content_type=_optional_text(fields, "content_type") or usual_type,
        content=_decode(content) if content is not None else None,
        url=url,
    )


def _path(url: str | None) -> str:
    try:
        return unquote(urlsplit(url or "").path)
    except ValueError:
        raise MalformedWebhook("attachments: a url is not valid") from None


def _file_name(path: str) -> str:
    return printable(PurePosixPath(path).name)


def _decode(content: str) -> bytes:
    try:
        return base64.b64decode(content, validate=True)
    except ValueError:
        raise MalformedWebhook("attachments: a content is not valid base64") from None
