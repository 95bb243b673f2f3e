"""Twilio's Messages resource: `POST /twilio/2010-04-01/Accounts/{AccountSid}/Messages.json`.

Authentication, form fields and errors are those of https://www.twilio.com/docs/messaging/api.

The account has the AccountSid ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa with the auth token
0123456789abcdef0123456789abcdef, the API key SKcccccccccccccccccccccccccccccccc with the secret
sandbox-api-key-secret, and the messaging service MGdddddddddddddddddddddddddddddddd. It may send
from any number.

A message with a StatusCallback is reported as queued, sent and delivered; each callback is signed
with the auth token. Messages to two numbers are reported as undelivered: +15005553003 (error 30003,
unreachable) and +15005553005 (error 30005, unknown number).

`POST /twilio/_inbound` simulates an inbound message. Send JSON with `url`, the webhook to call, and
any of Twilio's parameters (From, To, Body, OptOutType …) as strings; `MediaUrl` is a list of URLs.
"""

import base64
import hashlib
import hmac
import mimetypes
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sandbox.callbacks import CallbackRequest, send_callbacks
from sandbox.provider import Delivery, Provider, Request, Response, ResponseError, json_response
from sandbox.received import truncate

ACCOUNT_SID = "AC" + "a" * 32
AUTH_TOKEN = "0123456789abcdef0123456789abcdef"  # noqa: S105 - public on purpose: it protects nothing
API_KEY_SID = "SK" + "c" * 32
API_KEY_SECRET = "sandbox-api-key-secret"  # noqa: S105
MESSAGING_SERVICE_SID = "MG" + "d" * 32
IDENTITIES = (f"{ACCOUNT_SID}:{AUTH_TOKEN}", f"{API_KEY_SID}:{API_KEY_SECRET}")

UNDELIVERED = {"+15005553003": "30003", "+15005553005": "30005"}

PATH = re.compile(r"/twilio/2010-04-01/Accounts/(?P<account>[^/]+)/Messages\.json")
E164 = re.compile(r"\+[1-9]\d{6,14}")
SENDER = re.compile(r"\+?\d{3,15}|[A-Za-z0-9 +_&-]{1,11}")
CHANNEL = re.compile(r"(whatsapp|messenger|rcs):(.+)")


class Inbound(BaseModel):
    """An inbound message to simulate; extra fields are Twilio's parameters."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, str]

    url: str
    media: list[str] = Field(default=[], alias="MediaUrl")


def _read(request: Request) -> Delivery | Response:
    if request.path == "/twilio/_inbound":
        return json_response(202, {"sid": _send_inbound(request)})
    _check_access(request)
    given = parse_qs(request.body.decode(errors="replace"))
    form = {name: values[-1] for name, values in given.items()}
    media = given.get("MediaUrl", [])
    _check_message(form, media)
    sid = ("MM" if media else "SM") + uuid4().hex
    callback = form.get("StatusCallback")
    return Delivery(
        to=form["To"],
        key=None,
        details={
            "to": form["To"],
            "from": form.get("From"),
            "content": truncate(form.get("Body", "")),
            "media": media,
            "parameters": {name: truncate(value) for name, value in form.items()},
            "message_id": sid,
            "headers": request.recorded_headers(),
        },
        response=json_response(201, _resource(sid, form, media)),
        callbacks=_status_callbacks(callback, sid, form) if callback else (),
    )


def _check_access(request: Request) -> None:
    path = PATH.fullmatch(request.path)
    if path is None:
        raise _error(404, 20404, f"The requested resource {request.path} was not found")
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    identities = [base64.b64encode(identity.encode()).decode() for identity in IDENTITIES]
    if scheme.lower() != "basic" or credentials.strip() not in identities:
        raise _error(401, 20003, "Authenticate")
    if path["account"] != ACCOUNT_SID:
        raise _error(404, 20404, f"The requested resource {request.path} was not found")
    if request.method != "POST":
        raise _error(405, 20004, "Method not allowed")
    if request.media_type() != "application/x-www-form-urlencoded":
        raise _error(415, 20001, "Unsupported media type")


def _check_message(form: Mapping[str, str], media: Sequence[str]) -> None:
    to, sender = form.get("To", ""), form.get("From")
    if not to:
        raise _error(400, 21604, "A 'To' phone number is required.")
    channel = CHANNEL.fullmatch(to)
    if channel is None and not E164.fullmatch(to):
        raise _error(400, 21211, f"The 'To' number {to} is not a valid phone number.")
    if sender is None and "MessagingServiceSid" not in form:
        raise _error(400, 21603, "A 'From' phone number is required.")
    if form.get("MessagingServiceSid", MESSAGING_SERVICE_SID) != MESSAGING_SERVICE_SID:
        raise _error(404, 20404, "The requested messaging service was not found")
    if sender is not None:
        _check_sender(sender, channel[1] if channel else None)
    if not form.get("Body") and not media and "ContentSid" not in form:
        raise _error(400, 21602, "Message body is required.")
    if len(form.get("Body", "")) > 1600:
        raise _error(400, 21617, "The concatenated message body exceeds the 1600 character limit")
    if len(media) > 10:
        raise _error(400, 21623, "Number of media files exceeds allowed limit")
    if not all(_is_http_url(url) for url in media):
        raise _error(400, 21620, "Invalid media URL(s)")
    callback = form.get("StatusCallback")
    if callback is not None and not (
        _is_http_url(callback) and "_" not in urlsplit(callback).netloc
    ):
        raise _error(400, 21609, "The 'StatusCallback' URL is not a valid URL.")
    validity = form.get("ValidityPeriod", "36000")
    if not (validity.isdecimal() and 1 <= int(validity) <= 36_000):
        raise _error(400, 20001, "ValidityPeriod must be between 1 and 36000")


def _check_sender(sender: str, channel: str | None) -> None:
    own = CHANNEL.fullmatch(sender)
    if (own[1] if own else None) != channel:
        raise _error(400, 63007, "Could not find a Channel with the specified From address")
    if own is None and not SENDER.fullmatch(sender):
        raise _error(400, 21212, f"The 'From' number {sender} is not a valid phone number")


def _is_http_url(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


def _error(status: int, code: int, message: str) -> ResponseError:
    more_info = f"https://www.twilio.com/docs/errors/{code}"
    body = {"code": code, "message": message, "more_info": more_info, "status": status}
    return ResponseError(json_response(status, body))


def _resource(sid: str, form: Mapping[str, str], media: Sequence[str]) -> dict[str, Any]:
    """Return the message as Twilio shows it. A messaging service chooses the sender later."""
    uri = f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages/{sid}"
    now = format_datetime(datetime.now(UTC))
    return {
        "sid": sid,
        "account_sid": ACCOUNT_SID,
        "api_version": "2010-04-01",
        "status": "queued" if "From" in form else "accepted",
        "direction": "outbound-api",
        "from": form.get("From"),
        "to": form["To"],
        "body": form.get("Body", ""),
        "num_segments": "1" if "From" in form else "0",
        "num_media": str(len(media)),
        "messaging_service_sid": form.get("MessagingServiceSid"),
        "error_code": None,
        "error_message": None,
        "price": None,
        "price_unit": "USD",
        "date_created": now,
        "date_sent": None,
        "date_updated": now,
        "uri": f"{uri}.json",
        "subresource_uris": {"media": f"{uri}/Media.json"},
    }


def _status_callbacks(
    callback: str, sid: str, form: Mapping[str, str]
) -> tuple[CallbackRequest, ...]:
    error = UNDELIVERED.get(form["To"].rpartition(":")[2])
    common = {
        "AccountSid": ACCOUNT_SID,
        "ApiVersion": "2010-04-01",
        "From": form.get("From", "+15005550006"),
        "MessageSid": sid,
        "SmsSid": sid,
        "To": form["To"],
    }
    if "MessagingServiceSid" in form:
        common["MessagingServiceSid"] = form["MessagingServiceSid"]
    last = {"RawDlrDoneDate": f"{datetime.now(UTC):%y%m%d%H%M}"}
    if error:
        last["ErrorCode"] = error
    reports: tuple[tuple[str, dict[str, str]], ...] = (
        ("queued", {}),
        ("sent", {}),
        ("undelivered" if error else "delivered", last),
    )
    return tuple(
        _signed(callback, {**common, **extra, "MessageStatus": status, "SmsStatus": status})
        for status, extra in reports
    )


def _send_inbound(request: Request) -> str:
    """Call the webhook with an inbound message and return its sid."""
    try:
        inbound = Inbound.model_validate_json(request.body)
    except ValidationError as error:
        raise _error(400, 20001, str(error)) from None
    sid = ("MM" if inbound.media else "SM") + uuid4().hex
    parameters = {
        "AccountSid": ACCOUNT_SID,
        "ApiVersion": "2010-04-01",
        "From": "+14155552671",
        "To": "+15005550006",
        "Body": "",
        "MessageSid": sid,
        "SmsMessageSid": sid,
        "SmsSid": sid,
        "SmsStatus": "received",
        "NumMedia": str(len(inbound.media)),
        "NumSegments": "1",
        **inbound.__pydantic_extra__,
    }
    for number, media_url in enumerate(inbound.media):
        parameters[f"MediaUrl{number}"] = media_url
        content_type = mimetypes.guess_type(media_url)[0] or "application/octet-stream"
        parameters[f"MediaContentType{number}"] = content_type
    send_callbacks(_signed(inbound.url, parameters))
    return parameters["MessageSid"]


def _signed(url: str, parameters: Mapping[str, str]) -> CallbackRequest:
    """Sign a callback: https://www.twilio.com/docs/usage/webhooks/webhooks-security"""
    url = url.partition("#")[0]
    text = url + "".join(name + parameters[name] for name in sorted(parameters))
    digest = hmac.new(AUTH_TOKEN.encode(), text.encode(), hashlib.sha1).digest()
    headers = {
        "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
        "User-Agent": "TwilioProxy/1.1",
        "X-Twilio-Signature": base64.b64encode(digest).decode(),
        "I-Twilio-Idempotency-Token": str(uuid4()),
    }
    return CallbackRequest(url, urlencode(parameters).encode(), headers)


TWILIO = Provider("twilio", "/twilio", _read)
