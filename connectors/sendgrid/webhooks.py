"""Verify SendGrid's webhooks, and read the events of its Event Webhook.

Sources: https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event for events,
https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features
and SendGrid's own library for signatures.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from connectors.base import (
    MalformedWebhook,
    Receipt,
    ReceiptKind,
    Suppress,
    UnsignedWebhook,
    UnverifiedWebhook,
    WebhookRequest,
)
from connectors.sendgrid.requests import UID_ARGUMENT
from connectors.toolkit.http import excerpt

SIGNATURE_HEADER = "x-twilio-email-event-webhook-signature"
TIMESTAMP_HEADER = "x-twilio-email-event-webhook-timestamp"
TOLERANCE = timedelta(minutes=10)
"""How far a signature's timestamp may be in the past or future. SendGrid documents no limit."""

KIND_OF_EVENT: Mapping[str, ReceiptKind] = {
    "processed": "queued",
    "deferred": "deferred",
    "delivered": "delivered",
    "bounce": "bounced",
    "dropped": "failed",
    "open": "opened",
    "click": "clicked",
    "spamreport": "complained",
    "unsubscribe": "unsubscribed",
    "group_unsubscribe": "unsubscribed",
    "group_resubscribe": "resubscribed",
}


def public_key(text: str) -> EllipticCurvePublicKey:
    """Return the public key from the text that SendGrid displays.

    Raises:
        ValueError: The text is not a P-256 public key in DER, encoded in base64.
    """
    try:
        key = load_der_public_key(base64.b64decode(text, validate=True))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    match key:
        case EllipticCurvePublicKey(curve=SECP256R1()):
            return key
    raise ValueError("not a P-256 public key in DER, encoded in base64")


def verify_signature(request: WebhookRequest, keys: Sequence[EllipticCurvePublicKey]) -> None:
    """Check that a request was signed recently with one of the keys.

    Raises:
        UnsignedWebhook: The request has no signature.
        UnverifiedWebhook: The signature is invalid or too old.
    """
    given = request.headers.get(SIGNATURE_HEADER)
    timestamp = request.headers.get(TIMESTAMP_HEADER)
    if not given or not timestamp:
        raise UnsignedWebhook(f"the header {SIGNATURE_HEADER} or {TIMESTAMP_HEADER} is missing")
    try:
        signature = base64.b64decode(given, validate=True)
    except ValueError:
        raise UnverifiedWebhook("the signature is not valid base64") from None
    signed = timestamp.encode() + request.body
    if not any(_is_valid(key, signature, signed) for key in keys):
        raise UnverifiedWebhook("the signature is invalid")
    if not re.fullmatch("[0-9]{1,12}", timestamp):
        raise UnverifiedWebhook("the timestamp is not a number of seconds")
    if abs(request.received_at.timestamp() - int(timestamp)) > TOLERANCE.total_seconds():
        raise UnverifiedWebhook("the timestamp is more than ten minutes from the current time")


def _is_valid(key: EllipticCurvePublicKey, signature: bytes, signed: bytes) -> bool:
    try:
        key.verify(signature, signed, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def read_events(body: bytes) -> list[Receipt]:
    """Return the receipts for a batch of events, in the same order.

    Raises:
        MalformedWebhook: The body is not a JSON array of objects.
    """
    try:
        events = json.loads(body)
    except (ValueError, RecursionError):
        raise MalformedWebhook("the body is not JSON") from None
    if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
        raise MalformedWebhook("the body is not an array of events")
    return [_receipt(event) for event in events]


def _receipt(event: Mapping[str, Any]) -> Receipt:
    recipient = _text(event, "email")
    name = _text(event, "event") or ""
    text = _text(event, "reason") or _text(event, "response") or ""
    if name and name not in KIND_OF_EVENT:
        text = f"event {name}: {text}".removesuffix(": ")
    # The rest of sg_message_id depends on the recipient and on the server.
    message_id = (_text(event, "sg_message_id") or "").partition(".")[0]
    return Receipt(
        # Some events for messages that were dropped at once have no id.
        key=_text(event, "sg_event_id") or _digest(event),
        kind=KIND_OF_EVENT.get(name, "unrecognised"),
        provider_message_id=message_id or None,
        message_uid=_uid(event),
        recipient=recipient,
        occurred_at=_timestamp(event),
        code=_text(event, "status"),
        detail=excerpt(text, (recipient,)) or None,
        suppress=_suppress(event),
        payload=event,
    )


def _suppress(event: Mapping[str, Any]) -> Suppress:
    """Return whether the event means that the address should be suppressed.

    A bounce of type `blocked` does not: the server rejected this message, not the address. Nor
    does leaving a group, because other messages may still be wanted.
    """
    match event:
        case {"event": "bounce", "type": "bounce"} | {"event": "spamreport"}:
            return True
        case {"event": "unsubscribe"}:
            return "opt_out"
    return False


def _text(event: Mapping[str, Any], name: str) -> str | None:
    value = event.get(name)
    return value if isinstance(value, str) and value else None


def _uid(event: Mapping[str, Any]) -> str | None:
    try:
        return str(UUID(_text(event, UID_ARGUMENT) or ""))
    except ValueError:
        return None


def _timestamp(event: Mapping[str, Any]) -> datetime | None:
    try:
        return datetime.fromtimestamp(event["timestamp"], UTC)
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return None


def _digest(event: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(event, sort_keys=True).encode()).hexdigest()
