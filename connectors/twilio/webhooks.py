"""What Twilio calls us with: reports on our messages, and messages from outside.

https://www.twilio.com/docs/usage/webhooks/webhooks-security (signatures; that of its own library
where it says more), https://www.twilio.com/docs/messaging/guides/webhook-request (messages),
https://www.twilio.com/docs/messaging/guides/track-outbound-message-status (reports).

Nothing in a signed call tells when it was made: only its key keeps a repeated one from counting.
"""

import base64
import hashlib
import hmac
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
    Received,
    UnsignedWebhook,
    UnverifiedWebhook,
    WebhookRequest,
    WebhookResponse,
)
from connectors.toolkit.http.replies import excerpt
from connectors.twilio.errors import ERROR_OF_CODE

UID_PARAMETER = "message_uid"

HASHES = {"HMAC_SHA1": "sha1", "HMAC_SHA256": "sha256"}
DEFAULT_PORTS = {"https": 443, "http": 80}

# An answer in plain text would be sent to the sender as an SMS.
NO_REPLY = WebhookResponse(200, b"<Response/>", "text/xml")

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
# What an Inbound holds elsewhere than in its metadata; the first three all repeat MessageSid.
TAKEN = frozenset({"SmsSid", "SmsMessageSid", "MessageSid", "From", "To", "Body"})


def read(request: WebhookRequest, secrets: Sequence[str]) -> Received:
    """The receipts, or the message, of a call signed with one of `secrets`. Raises a WebhookError."""
    _verify(request, secrets)
    fields = _fields(request)
    if request.kind == "status":
        return Received(_receipts(fields, dict(request.query).get(UID_PARAMETER)))
    return Received([_inbound(fields)], NO_REPLY)


def _verify(request: WebhookRequest, secrets: Sequence[str]) -> None:
    given = request.headers.get("x-twilio-signature")
    if not given:
        raise UnsignedWebhook("no X-Twilio-Signature")
    algorithm = _algorithm(request.headers.get("x-twilio-webhooks-signature-settings"))
    parameters = _signed_parameters(request)
    right = [
        hmac.compare_digest(_signature(secret, url + parameters, algorithm), given.encode())
        for secret, url in product(secrets, _spellings(request.url))
    ]
    if not any(right):
        raise UnverifiedWebhook("the signature is wrong")


def _algorithm(settings: str | None) -> str:
    if settings is None:
        return HASHES["HMAC_SHA1"]
    given = dict(part.strip().partition("=")[::2] for part in settings.split(","))
    try:
        return HASHES[given["algorithm"]]
    except KeyError:
        raise UnverifiedWebhook("signed by an unknown algorithm") from None


def _signed_parameters(request: WebhookRequest) -> str:
    """What the signature covers behind the URL: of a form its fields, of any other body nothing,
    since the URL holds its hash, which is checked here."""
    if request.method == "GET":
        return ""
    if _is_form(request):
        try:
            fields = set(request.form)
        except MalformedWebhook as malformed:
            # What cannot be read cannot be verified either.
            raise UnverifiedWebhook(str(malformed)) from None
        return "".join(name + value for name, value in sorted(fields))
    claimed = dict(request.query).get("bodySHA256", "")
    if not hmac.compare_digest(
        hashlib.sha256(request.body).hexdigest().encode(), claimed.lower().encode()
    ):
        raise UnverifiedWebhook("the body is not the one of the signed hash")
    return ""


def _is_form(request: WebhookRequest) -> bool:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type == "application/x-www-form-urlencoded"


def _spellings(url: str) -> set[str]:
    """`url` as it is, without its port, and with the usual one: Twilio may have signed either."""
    parts = urlsplit(url)
    before, after = url.split(parts.netloc, 1)
    host = parts.netloc if parts.port is None else parts.netloc.removesuffix(f":{parts.port}")
    usual = f"{host}:{DEFAULT_PORTS[parts.scheme]}"
    return {before + netloc + after for netloc in (parts.netloc, host, usual)}


def _signature(secret: str, text: str, algorithm: str) -> bytes:
    return base64.b64encode(hmac.digest(secret.encode(), text.encode(), algorithm))


def _fields(request: WebhookRequest) -> dict[str, str]:
    """The parameters by name, wherever they are. Raises MalformedWebhook."""
    if request.method == "GET":
        return dict(request.query)
    if _is_form(request):
        return dict(request.form)
    try:
        fields = json.loads(request.body)
    except (ValueError, RecursionError):
        raise MalformedWebhook("the body is neither a form nor JSON") from None
    if not isinstance(fields, dict):
        raise MalformedWebhook("the body is no JSON object")
    return {name: str(value) for name, value in fields.items() if value is not None}


def _receipts(fields: Mapping[str, str], message_uid: str | None) -> list[Receipt]:
    sid = _one_of(fields, "MessageSid", "SmsSid")
    status = _one_of(fields, "MessageStatus", "SmsStatus")
    recipient, code = fields.get("To"), fields.get("ErrorCode") or None
    kind = KIND_OF_STATUS.get(status, "unrecognised")
    known = ERROR_OF_CODE.get(code or "")
    meaning = known.meaning if known else ""
    said = fields.get("ErrorMessage") or fields.get("ChannelStatusMessage") or meaning

    def receipt(kind: ReceiptKind, status: str) -> Receipt:
        return Receipt(
            key=f"{sid}:{status}",
            kind=kind,
            provider_message_id=sid,
            message_uid=message_uid,
            recipient=recipient,
            code=code,
            detail=excerpt(said, (recipient,)) or None,
            suppress=known is not None and known.suppress,
            payload=dict(fields),
        )

    # What was read was delivered, though its own report may be late, or lost.
    implied = [receipt("delivered", "delivered")] if status == "read" else []
    return [*implied, receipt(kind, status)]


def _inbound(fields: Mapping[str, str]) -> Inbound:
    sid = _one_of(fields, "MessageSid", "SmsSid")
    attachments = tuple(_attachments(fields))
    opted = fields.get("OptOutType", "").lower()
    keyword: Keyword | None = next((word for word in get_args(Keyword) if word == opted), None)
    answered = fields.get("OriginalRepliedMessageSid")
    return Inbound(
        key=sid,
        channel="mms" if attachments else "sms",
        sender=_one_of(fields, "From"),
        recipient=_one_of(fields, "To"),
        body=fields.get("Body", ""),
        provider_message_id=sid,
        attachments=attachments,
        in_reply_to=(answered,) if answered else (),
        keyword=keyword,
        metadata={
            name: value
            for name, value in fields.items()
            if name not in TAKEN and not name.startswith(("MediaUrl", "MediaContentType"))
        },
    )


def _attachments(fields: Mapping[str, str]) -> Iterator[Attachment]:
    """The files of a message. Twilio gives them no name and keeps them at a URL of the account."""
    for number in count():
        url = fields.get(f"MediaUrl{number}")
        if not url:
            return
        content_type = fields.get(f"MediaContentType{number}") or "application/octet-stream"
        extension = mimetypes.guess_extension(content_type) or ""
        yield Attachment(f"media-{number}{extension}", content_type, url=url)


def _one_of(fields: Mapping[str, str], *names: str) -> str:
    for name in names:
        if value := fields.get(name):
            return value
    raise MalformedWebhook(f"no {names[0]}")
