"""The webhook calls of SendGrid: signed batches of events, and inbound mail.

https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event and
https://www.twilio.com/docs/sendgrid/for-developers/parsing-email/setting-up-the-inbound-parse-webhook
"""

import base64
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from email import message_from_bytes, policy
from email.message import EmailMessage, MIMEPart
from typing import Any
from urllib.parse import unquote, urlsplit

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from sandbox.callbacks import CallbackRequest

PUBLIC_KEY = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEs7dqb3Bwdg6ausKmkwbLnqWpmFx+"
    "q1fn3J3WUsWpowRtC/AH9NADgXRmZjY0Yk7MGrPiZpN+EcGtc+B2l9MB3A=="
)
"""The public key for signatures, in the format of SendGrid's settings."""
_PRIVATE_KEY = ec.derive_private_key(0x53656E64477269642073616E64626F78, ec.SECP256R1())
BOUNDARY = b"xYzZY"

# Events by the local part of the recipient; anything after a + is ignored.
DEFAULT_EVENTS = ("processed", "delivered")
EVENTS_OF: Mapping[str, Sequence[str]] = {
    "bounce": ("processed", "bounce"),
    "blocked": ("processed", "blocked"),
    "dropped": ("dropped",),
    "deferred": ("processed", "deferred", "delivered"),
    "engaged": ("processed", "delivered", "open", "click"),
    "spamreport": ("processed", "delivered", "spamreport"),
    "unsubscribe": ("processed", "delivered", "unsubscribe"),
}
FIELDS_OF_EVENT: Mapping[str, Mapping[str, Any]] = {
    "bounce": {
        "event": "bounce",
        "type": "bounce",
        "status": "5.1.1",
        "reason": "550 5.1.1 The email account that you tried to reach does not exist",
        "bounce_classification": "Invalid Address",
        "tls": 1,
    },
    "blocked": {
        "event": "bounce",
        "type": "blocked",
        "status": "4.7.1",
        "reason": "421 4.7.1 Message temporarily deferred",
        "bounce_classification": "Reputation",
        "tls": 1,
    },
    "dropped": {"event": "dropped", "reason": "Bounced Address"},
    "deferred": {"response": "451 4.2.0 Try again later", "attempt": "1"},
    "delivered": {"response": "250 2.0.0 OK", "tls": 1},
    "open": {"useragent": "Mozilla/5.0", "ip": "192.0.2.7", "sg_machine_open": False},
    "click": {"useragent": "Mozilla/5.0", "ip": "192.0.2.7", "url": "https://example.com/"},
}
ENGAGEMENT = frozenset({"open", "click", "spamreport", "unsubscribe"})


def event_webhook(
    url: str,
    message_id: str,
    smtp_id: str,
    recipients: Sequence[str],
    custom_fields: Mapping[str, Any],
) -> CallbackRequest:
    """Return the call with all events of one mail, in one batch.

    `custom_fields` are the mail's categories and custom arguments, which each event repeats.
    """
    now = int(time.time())
    events = []
    for number, recipient in enumerate(recipients):
        mailbox = recipient.partition("@")[0].partition("+")[0]
        for name in EVENTS_OF.get(mailbox, DEFAULT_EVENTS):
            event = {
                "email": recipient,
                "timestamp": now,
                "event": name,
                "sg_event_id": secrets.token_urlsafe(24),
                "sg_message_id": f"{message_id}.recvd-5b7c9d6f4-x2v8q-1-65A5B0F2-1.{number}",
                **custom_fields,
                **FIELDS_OF_EVENT.get(name, {}),
            }
            if name not in ENGAGEMENT:
                event["smtp-id"] = smtp_id
            events.append(json.dumps(event))
    body = "[" + ",\r\n".join(events) + "]\r\n"
    return _signed(url, body.encode(), "application/json")


def inbound_webhook(
    url: str, mime: bytes, envelope: Mapping[str, Any], *, raw: bool
) -> CallbackRequest:
    """Return the call with an inbound mail, raw or parsed into fields."""
    mail = message_from_bytes(mime, _class=EmailMessage, policy=policy.default)
    fields: list[tuple[str, bytes]] = [
        (name, str(mail.get(name, "")).encode()) for name in ("to", "from", "subject")
    ]
    fields += [
        ("dkim", b"{@example.org : pass}"),
        ("SPF", b"pass"),
        ("sender_ip", b"192.0.2.25"),
        ("envelope", json.dumps(envelope).encode()),
    ]
    charsets = dict.fromkeys(("to", "from", "subject"), "UTF-8")
    files: dict[str, MIMEPart] = {}
    if raw:
        fields.append(("email", mime))
    else:
        head = mime.replace(b"\r\n", b"\n").partition(b"\n\n")[0]
        fields.append(("headers", head + b"\n"))
        for name, subtype in ("text", "plain"), ("html", "html"):
            if (part := mail.get_body((subtype,))) is not None:
                fields.append((name, _payload(part)))
                charsets[name] = part.get_content_charset("us-ascii")
        files = {f"attachment{n}": part for n, part in enumerate(mail.iter_attachments(), 1)}
        fields.append(("attachments", str(len(files)).encode()))
        if files:
            fields.append(("attachment-info", json.dumps(_attachment_info(files)).encode()))
    fields.append(("charsets", json.dumps(charsets).encode()))
    body = b"".join(_part(f'name="{name}"', value) for name, value in fields)
    for name, part in files.items():
        disposition = f'name="{name}"; filename="{part.get_filename("")}"'
        body += _part(disposition, _payload(part), part.get_content_type())
    body += b"--" + BOUNDARY + b"--\r\n"
    return _signed(url, body, f"multipart/form-data; boundary={BOUNDARY.decode()}")


def _payload(part: MIMEPart) -> bytes:
    content: Any = part.get_payload(decode=True)
    if isinstance(content, bytes):
        return content
    # get_payload(decode=True) returns no bytes for an attached mail (message/rfc822).
    inner: Any = part.get_payload(0)
    return bytes(inner)


def _attachment_info(files: Mapping[str, MIMEPart]) -> dict[str, dict[str, str]]:
    return {
        name: {
            "filename": part.get_filename(""),
            "name": part.get_filename(""),
            "type": part.get_content_type(),
            "charset": part.get_content_charset("us-ascii"),
        }
        for name, part in files.items()
    }


def _part(disposition: str, value: bytes, content_type: str | None = None) -> bytes:
    head = f"Content-Disposition: form-data; {disposition}\r\n"
    if content_type:
        head += f"Content-Type: {content_type}\r\n"
    return b"--" + BOUNDARY + b"\r\n" + head.encode() + b"\r\n" + value + b"\r\n"


def _signed(url: str, body: bytes, content_type: str) -> CallbackRequest:
    """Sign a call. Credentials in the URL are moved to the Authorization header."""
    timestamp = str(int(time.time()))
    signature = _PRIVATE_KEY.sign(timestamp.encode() + body, ec.ECDSA(SHA256()))
    headers = {
        "Content-Type": content_type,
        "User-Agent": "SendGrid Event API",
        "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
        "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
    }
    parts = urlsplit(url)
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return CallbackRequest(url, body, headers)
