"""Webhook requests as Twilio makes them."""

import base64
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


def post(
    url: str, signature: str | None, body: bytes, *, kind: Any = "status", **headers: str
) -> WebhookRequest:
    """Return a POST request, by default of a form; `_` in a header name stands for `-`."""
    defaults = {"content-type": FORM, "x-twilio-signature": signature}
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    present = {name: value for name, value in {**defaults, **given}.items() if value is not None}
    return WebhookRequest(kind, "POST", url, present, body, datetime(2026, 11, 2, tzinfo=UTC))


def sign(text: str) -> str:
    return base64.b64encode(hmac.digest(TOKEN.encode(), text.encode(), "sha1")).decode()


def signed(
    fields: Mapping[str, str], *, kind: Any = "status", url: str = f"{BASE}/status"
) -> WebhookRequest:
    """Return a correctly signed POST request of a form."""
    text = url + "".join(name + fields[name] for name in sorted(fields))
    return post(url, sign(text), urlencode(fields).encode(), kind=kind)
