"""Verify and read Twilio's webhooks: status reports and inbound messages.

Sources: https://www.twilio.com/docs/usage/webhooks/webhooks-security and Twilio's own library for
signatures, https://www.twilio.com/docs/messaging/guides/webhook-request for inbound messages,
https://www.twilio.com/docs/messaging/guides/track-outbound-message-status for status reports.

A signed request contains no timestamp, so a replayed one is recognised only by its key.
"""

import hashlib
import json
import mimetypes
from collections.abc import Iterator, Mapping, Sequence
from itertools import count, product
from typing import get_args
from urllib.parse import urlsplit

from connectors.base import (
    Attachment,
    Inbound,
    Keyword,
    MalformedWebhook,
    Receipt,
    ReceiptKind,
    UnsignedWebhook,
    UnverifiedWebhook,
    WebhookRequest,
    WebhookResponse,
)
from connectors.toolkit.http import excerpt
from connectors.toolkit.signatures import Algorithm, is_any_equal, sign_hmac
from connectors.twilio.errors import BY_CODE

UID_PARAMETER = "message_uid"
"""The query parameter of the callback URL that contains the message's uid."""

HASHES: Mapping[str, Algorithm] = {"HMAC_SHA1": "sha1", "HMAC_SHA256": "sha256"}
DEFAULT_PORTS = {"https": 443, "http": 80}

# Twilio would send a plain-text body to the sender as an SMS.
EMPTY_TWIML = WebhookResponse(200, b"<Response/>", "text/xml")

KIND_OF_STATUS: Mapping[str, ReceiptKind] = {
    "accepted": "queued",
    "scheduled": "queued",
    "queued": "queued",
    "sending": "queued",
    "sent": "sent",
    "partially_delivered": "sent",
    "delivered": "delivered",
    "read": "opened",
    "undelivered": "bounced",
    "failed": "failed",
    "canceled": "failed",
}
# Parameters that are not copied to an inbound message's metadata because it has them already.
NOT_METADATA = frozenset({"SmsSid", "SmsMessageSid", "MessageSid", "From", "To", "Body"})


def read_webhook(request: WebhookRequest) -> Sequence[Receipt | Inbound]:
    """Return the receipts or the inbound message of a request.

    Raises:
        MalformedWebhook: The request is not one that Twilio makes.
    """
    fields = _fields(request)
    if request.kind == "status":
        return _receipts(fields, dict(request.query).get(UID_PARAMETER))
    return [_inbound(fields)]


def verify_webhook(request: WebhookRequest, secrets: Sequence[str]) -> WebhookResponse:
    """Check that a request is signed with one of the secrets, and return the response to it.

    Raises:
        UnsignedWebhook: The signature is missing.
        UnverifiedWebhook: The signature is invalid.
    """
    given = request.headers.get("x-twilio-signature")
    if not given:
        raise UnsignedWebhook("the header X-Twilio-Signature is missing")
    algorithm = _algorithm(request.headers.get("x-twilio-webhooks-signature-settings"))
    parameters = _signed_parameters(request)
    expected = [
        sign_hmac(secret.encode(), (url + parameters).encode(), algorithm, "base64")
        for secret, url in product(secrets, _port_variants(request.url))
    ]
    if not is_any_equal(given, expected):
        raise UnverifiedWebhook("the signature is invalid")
    return EMPTY_TWIML if request.kind == "inbound" else WebhookResponse()


def _algorithm(settings: str | None) -> Algorithm:
    if settings is None:
        return HASHES["HMAC_SHA1"]
    values = dict(part.strip().partition("=")[::2] for part in settings.split(","))
    try:
        return HASHES[values["algorithm"]]
    except KeyError:
        raise UnverifiedWebhook("the signature algorithm is unknown") from None


def _signed_parameters(request: WebhookRequest) -> str:
    """Return what the signature covers after the URL.

    For a form these are its fields. For any other body it is nothing, because the URL contains
    the hash of the body, which is checked here.
    """
    if request.method == "GET":
        return ""
    if _is_form(request):
        try:
            fields = set(request.form)
        except MalformedWebhook as error:
            # A form that cannot be parsed cannot be verified either.
            raise UnverifiedWebhook(str(error)) from None
        return "".join(name + value for name, value in sorted(fields))
    signed_hash = dict(request.query).get("bodySHA256", "").lower()
    body_hash = hashlib.sha256(request.body).hexdigest()
    if not is_any_equal(signed_hash, [body_hash]):
        raise UnverifiedWebhook("the body does not match the signed hash")
    return ""


def _is_form(request: WebhookRequest) -> bool:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type == "application/x-www-form-urlencoded"


def _port_variants(url: str) -> set[str]:
    """Return the URL as it is, without a port, and with the default port.

    Twilio may have signed any of them.
    """
    parts = urlsplit(url)
    before, after = url.split(parts.netloc, 1)
    host = parts.netloc if parts.port is None else parts.netloc.removesuffix(f":{parts.port}")
    with_default_port = f"{host}:{DEFAULT_PORTS[parts.scheme]}"
    return {before + netloc + after for netloc in (parts.netloc, host, with_default_port)}


def _fields(request: WebhookRequest) -> dict[str, str]:
    """Return the parameters from the query, the form or the JSON body."""
    if request.method == "GET":
        return dict(request.query)
    if _is_form(request):
        return dict(request.form)
    try:
        fields = json.loads(request.body)
    except (ValueError, RecursionError):
        raise MalformedWebhook("the body is neither a form nor JSON") from None
    if not isinstance(fields, dict):
        raise MalformedWebhook("the body is not a JSON object")
    return {name: str(value) for name, value in fields.items() if value is not None}


def _receipts(fields: Mapping[str, str], message_uid: str | None) -> list[Receipt]:
    sid = _first(fields, "MessageSid", "SmsSid")
    status = _first(fields, "MessageStatus", "SmsStatus")
    recipient, code = fields.get("To"), fields.get("ErrorCode") or None
    error = BY_CODE.get(code or "")
    meaning = error.meaning if error else ""
    text = fields.get("ErrorMessage") or fields.get("ChannelStatusMessage") or meaning

    if status not in KIND_OF_STATUS:
        text = f"status {status}: {text}".removesuffix(": ")

    def receipt(kind: ReceiptKind, status: str) -> Receipt:
        return Receipt(
            key=f"{sid}:{status}",
            kind=kind,
            provider_message_id=sid,
            message_uid=message_uid,
            recipient=recipient,
            code=code,
            detail=excerpt(text, (recipient,)) or None,
            suppress=error is not None and error.suppress,
            payload=dict(fields),
        )

    current = receipt(KIND_OF_STATUS.get(status, "unrecognised"), status)
    # A message that was read was delivered, even if the delivery report is late or lost.
    return [receipt("delivered", "delivered"), current] if status == "read" else [current]


def _inbound(fields: Mapping[str, str]) -> Inbound:
    sid = _first(fields, "MessageSid", "SmsSid")
    attachments = tuple(_attachments(fields))
    opt_out_type = fields.get("OptOutType", "").lower()
    keyword: Keyword | None = next((k for k in get_args(Keyword) if k == opt_out_type), None)
    replied_to = fields.get("OriginalRepliedMessageSid")
    return Inbound(
        key=sid,
        channel="mms" if attachments else "sms",
        sender=_first(fields, "From"),
        recipient=_first(fields, "To"),
        body=fields.get("Body", ""),
        provider_message_id=sid,
        attachments=attachments,
        in_reply_to=(replied_to,) if replied_to else (),
        keyword=keyword,
        metadata={
            name: value
            for name, value in fields.items()
            if name not in NOT_METADATA and not name.startswith(("MediaUrl", "MediaContentType"))
        },
    )


def _attachments(fields: Mapping[str, str]) -> Iterator[Attachment]:
    """Return the files of a message, which have no name and are stored at Twilio."""
    for number in count():
        url = fields.get(f"MediaUrl{number}")
        if not url:
            return
        content_type = fields.get(f"MediaContentType{number}") or "application/octet-stream"
        extension = mimetypes.guess_extension(content_type) or ""
        yield Attachment(f"media-{number}{extension}", content_type, url=url)


def _first(fields: Mapping[str, str], *names: str) -> str:
    for name in names:
        if value := fields.get(name):
            return value
    raise MalformedWebhook(f"{names[0]} is missing")
