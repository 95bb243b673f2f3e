"""What SendGrid calls a client with: signed batches of events, and mail that came in.

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
"""Half of the key that calls are signed with, as SendGrid shows it in its settings."""
_PRIVATE_KEY = ec.derive_private_key(0x53656E64477269642073616E64626F78, ec.SECP256R1())
BOUNDARY = b"xYzZY"

# What happens to mail, by the local part of its recipient; what follows a + is ignored.
USUAL_EVENTS = ("processed", "delivered")
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


def events(
    url: str,
    message_id: str,
    smtp_id: str,
    recipients: Sequence[str],
    marks: Mapping[str, Any],
) -> CallbackRequest:
    """All that happens to one mail, in one batch. `marks` are its categories and custom
    arguments, which each event repeats."""
    now = int(time.time())
    happened = []
    for number, recipient in enumerate(recipients):
        mailbox = recipient.partition("@")[0].partition("+")[0]
        for name in EVENTS_OF.get(mailbox, USUAL_EVENTS):
            event = {
                "email": recipient,
                "timestamp": now,
                "event": name,
                "sg_event_id": secrets.token_urlsafe(24),
                "sg_message_id": f"{message_id}.recvd-5b7c9d6f4-x2v8q-1-65A5B0F2-1.{number}",
                **marks,
                **FIELDS_OF_EVENT.get(name, {}),
            }
            if name not in ENGAGEMENT:
                event["smtp-id"] = smtp_id
            happened.append(json.dumps(event))
    body = "[" + ",\r\n".join(happened) + "]\r\n"
    return _signed(url, body.encode(), "application/json")


def incoming(url: str, mime: bytes, envelope: Mapping[str, Any], *, raw: bool) -> CallbackRequest:
    """A mail that came in, as it is or taken apart."""
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
            fields.append(("attachment-info", json.dumps(_described(files)).encode()))
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
    # A mail within the mail has no bytes of its own.
    inner: Any = part.get_payload(0)
    return bytes(inner)


def _described(files: Mapping[str, MIMEPart]) -> dict[str, dict[str, str]]:
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
    """A call whose URL may hold credentials: those go into a header, as clients of HTTP do it."""
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
