"""What Twilio calls us with, signed or not."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from connectors.base import WebhookRequest

TOKEN = "0123456789abcdef0123456789abcdef"
BASE = "https://relay.example.com/webhooks/twilio"
FORM = "application/x-www-form-urlencoded; charset=UTF-8"
SID = "SM" + "b" * 32

REPORT = {
    "AccountSid": "AC" + "a" * 32,
    "ApiVersion": "2010-04-01",
    "From": "+15005550006",
    "MessageSid": SID,
    "MessageStatus": "undelivered",
    "ErrorCode": "30003",
    "SmsSid": SID,
    "SmsStatus": "undelivered",
    "To": "+14155552671",
    "RawDlrDoneDate": "2611021530",
}
SMS = {
    "AccountSid": "AC" + "a" * 32,
    "ApiVersion": "2010-04-01",
    "Body": "Привет 👋 & =",
    "From": "+14155552671",
    "FromCountry": "US",
    "MessageSid": "SM" + "c" * 32,
    "NumMedia": "0",
    "NumSegments": "1",
    "SmsMessageSid": "SM" + "c" * 32,
    "SmsSid": "SM" + "c" * 32,
    "SmsStatus": "received",
    "To": "+15005550006",
}


def call(
    url: str, signature: str | None, body: bytes, *, kind: Any = "status", **headers: str
) -> WebhookRequest:
    """A POST of a form, where the headers say nothing else; `_` in their names stands for `-`."""
    given = {"content-type": FORM, "x-twilio-signature": signature}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    present = {name: value for name, value in given.items() if value is not None}
    return WebhookRequest(kind, "POST", url, present, body, datetime(2026, 11, 2, tzinfo=UTC))


def signed(
    fields: Mapping[str, str], *, kind: Any = "status", url: str = f"{BASE}/status"
) -> WebhookRequest:
    text = url + "".join(name + fields[name] for name in sorted(fields))
    digest = hmac.digest(TOKEN.encode(), text.encode(), hashlib.sha1)
    return call(url, base64.b64encode(digest).decode(), urlencode(fields).encode(), kind=kind)
