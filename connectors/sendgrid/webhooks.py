"""What SendGrid calls us with: how a call is verified, and what its events say.

https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event (events),
https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features
(signatures; its own library says how the signed bytes are made).
"""

import base64
import hashlib
import hmac
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
from connectors.toolkit.http.replies import excerpt

SIGNATURE_HEADER = "x-twilio-email-event-webhook-signature"
TIMESTAMP_HEADER = "x-twilio-email-event-webhook-timestamp"
TOLERANCE = timedelta(minutes=10)
"""How old a signature may be, or how far ahead its clock. SendGrid itself names no limit."""

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
    """The key that SendGrid shows as `text`: a P-256 public key as DER in base64. Raises
    ValueError."""
    try:
        key = load_der_public_key(base64.b64decode(text, validate=True))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    match key:
        case EllipticCurvePublicKey(curve=SECP256R1()):
            return key
    raise ValueError("must be a P-256 public key, as DER in base64")


def verify_signature(request: WebhookRequest, keys: Sequence[EllipticCurvePublicKey]) -> None:
    """Check that the call was signed with one of the keys, and lately. Raises UnsignedWebhook or
    UnverifiedWebhook."""
    given = request.headers.get(SIGNATURE_HEADER)
    timestamp = request.headers.get(TIMESTAMP_HEADER)
    if not given or not timestamp:
        raise UnsignedWebhook(f"needs the headers {SIGNATURE_HEADER} and {TIMESTAMP_HEADER}")
    try:
        signature = base64.b64decode(given, validate=True)
    except ValueError:
        raise UnverifiedWebhook("the signature is not base64") from None
    signed = timestamp.encode() + request.body
    if not any(_fits(key, signature, signed) for key in keys):
        raise UnverifiedWebhook("no key fits the signature")
    if not re.fullmatch("[0-9]{1,12}", timestamp):
        raise UnverifiedWebhook("the timestamp is no number of seconds")
    if abs(request.received_at.timestamp() - int(timestamp)) > TOLERANCE.total_seconds():
        raise UnverifiedWebhook("the timestamp is more than ten minutes away from now")


def _fits(key: EllipticCurvePublicKey, signature: bytes, signed: bytes) -> bool:
    try:
        key.verify(signature, signed, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def verify_credentials(request: WebhookRequest, username: str, passwords: Sequence[str]) -> None:
    """Check the Basic credentials (RFC 7617) that SendGrid takes from the URL it calls. Raises
    UnsignedWebhook or UnverifiedWebhook."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        raise UnsignedWebhook("needs Basic credentials")
    try:
        pair = base64.b64decode(given.strip(), validate=True)
    except ValueError:
        raise UnverifiedWebhook("the credentials are not base64") from None
    right = [hmac.compare_digest(pair, f"{username}:{one}".encode()) for one in passwords]
    if not any(right):
        raise UnverifiedWebhook("the credentials are wrong")


def receipts(body: bytes) -> list[Receipt]:
    """What a batch of events says, in its order. Raises MalformedWebhook."""
    try:
        events = json.loads(body)
    except (ValueError, RecursionError):
        raise MalformedWebhook("the body is no JSON") from None
    if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
        raise MalformedWebhook("the body is no list of events")
    return [_receipt(event) for event in events]


def _receipt(event: Mapping[str, Any]) -> Receipt:
    recipient = _text(event, "email")
    said = _text(event, "reason") or _text(event, "response") or ""
    message_id = (_text(event, "sg_message_id") or "").partition(".")[0]
    return Receipt(
        key=_text(event, "sg_event_id") or _digest(event),
        kind=KIND_OF_EVENT.get(_text(event, "event") or "", "unrecognised"),
        provider_message_id=message_id or None,
        message_uid=_uid(event),
        recipient=recipient,
        occurred_at=_moment(event),
        code=_text(event, "status"),
        detail=excerpt(said, (recipient,)) or None,
        suppress=_suppress(event),
        payload=event,
    )


def _suppress(event: Mapping[str, Any]) -> Suppress:
    """A bounce of the type `blocked` says nothing of the address, but that its server did not
    want this mail now; and who leaves a group may still want what is outside it."""
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


def _moment(event: Mapping[str, Any]) -> datetime | None:
    try:
        return datetime.fromtimestamp(event["timestamp"], UTC)
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return None


def _digest(event: Mapping[str, Any]) -> str:
    """The key of an event that has no id, as some that were dropped at once."""
    return hashlib.sha256(json.dumps(event, sort_keys=True).encode()).hexdigest()
