"""SendGrid's v3 Mail Send at `/sendgrid/v3/mail/send`, without templates.

The account has the API key `API_KEY`; all addresses at example.com are verified senders. The local
part of a recipient decides what happens to the mail: bounce, blocked, dropped, deferred, engaged,
spamreport or unsubscribe; mail to any other is delivered.

`PUT /sendgrid/_webhook` sets the URLs for events and inbound mail: `{"url": …, "inbound_url": …}`.
`POST /sendgrid/_inbound` simulates an inbound mail: `{"mime": …, "envelope": {"from": …, "to":
[…]}, "raw": false}`.
"""

import base64
import hmac
import json
import secrets
from typing import Any, TypeVar

from pydantic import ValidationError

from sandbox.callbacks import send_callbacks
from sandbox.provider import Delivery, Provider, Request, Response, ResponseError, json_response
from sandbox.received import truncate
from tests.doubles.sendgrid_requests import Inbound, Mail, Part, Webhooks
from tests.doubles.sendgrid_webhooks import event_webhook, inbound_webhook

KIND = "sendgrid"
API_KEY = "SG.sandboxsandboxsandbox.sandboxsandboxsandboxsandboxsandboxsandbox1"
VERIFIED_DOMAIN = "example.com"

MAX_REQUEST_BYTES = 30 * 1024 * 1024

P = TypeVar("P", bound=Part)


def sendgrid() -> Provider:
    """Return SendGrid with the simulated account."""
    webhooks = Webhooks()

    def read(request: Request) -> Delivery | Response:
        nonlocal webhooks
        match request.method, request.path:
            case "PUT", "/sendgrid/_webhook":
                webhooks = _valid(Webhooks, request.body)
                return json_response(200, webhooks.model_dump())
            case "POST", "/sendgrid/_inbound":
                mail = _valid(Inbound, request.body)
                envelope = mail.envelope.model_dump(by_alias=True)
                if not webhooks.inbound_url:
                    raise _refused(
                        400, "inbound mail is not configured: set inbound_url", "inbound_url"
                    )
                url = webhooks.inbound_url
                send_callbacks(inbound_webhook(url, mail.mime.encode(), envelope, raw=mail.raw))
                return json_response(202, {})
            case _, "/sendgrid/v3/mail/send":
                _check_head(request)
                return _read_mail(_valid(Mail, request.body), webhooks.url)
        raise _refused(404, "Not Found")

    return Provider(KIND, "/sendgrid", read)


def _read_mail(mail: Mail, webhook: str) -> Delivery:
    if mail.from_.email.rpartition("@")[2] != VERIFIED_DOMAIN:
        message = "The from address does not match a verified Sender Identity."
        raise _refused(403, message, "from")
    message_id = secrets.token_urlsafe(16)
    given_id = next((v for k, v in mail.headers.items() if k.lower() == "message-id"), None)
    delivered = not mail.mail_settings.sandbox_mode.enable
    callbacks = []
    if delivered and webhook:
        recipients = [mailbox.email for mailbox in mail.recipients()]
        custom_fields = {"category": mail.categories} if mail.categories else {}
        smtp_id = given_id or f"<{message_id}@geopod-ismtpd-1>"
        callbacks = [
            event_webhook(
                webhook, message_id, smtp_id, recipients, {**custom_fields, **mail.custom_args}
            )
        ]
    return Delivery(
        to=mail.personalizations[0].to[0].email,
        key=given_id,
        details=_details(mail, message_id),
        response=Response(202, b"", headers={"X-Message-Id": message_id})
        if delivered
        else Response(200, b""),
        callbacks=callbacks,
    )


def _check_head(request: Request) -> None:
    if request.method != "POST":
        raise _refused(405, "method not allowed")
    key = request.headers.get("authorization", "")
    if not hmac.compare_digest(key.encode(), f"Bearer {API_KEY}".encode()):
        raise _refused(401, "The provided authorization grant is invalid, expired, or revoked")
    if "accept" not in request.headers:
        raise _refused(406, "Not Acceptable")
    if request.media_type() != "application/json":
        raise _refused(415, "Unsupported Media Type")
    if len(request.body) > MAX_REQUEST_BYTES:
        # SendGrid's front-end server enforces the limit, with a response of its own.
        page = b"<html><head><title>413 Request Entity Too Large</title></head></html>\r\n"
        raise ResponseError(Response(413, page, "text/html"))


def _valid(kind: type[P], body: bytes) -> P:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise _refused(415, "Invalid UTF8 in request") from None
    try:
        return kind.model_validate(json.loads(text))
    except ValidationError as error:
        problems = [
            (
                reason["msg"].removeprefix("Value error, "),
                ".".join(map(str, reason["loc"])) or None,
            )
            for reason in error.errors(include_url=False, include_context=False)
        ]
        raise ResponseError(_errors(400, *problems)) from None
    except (ValueError, RecursionError):
        raise _refused(400, "Bad Request") from None


def _refused(status: int, message: str, field: str | None = None) -> ResponseError:
    return ResponseError(_errors(status, (message, field)))


def _errors(status: int, *problems: tuple[str, str | None]) -> Response:
    errors = [{"message": message, "field": field, "help": None} for message, field in problems]
    return json_response(status, {"errors": errors})


def _details(mail: Mail, message_id: str) -> dict[str, Any]:
    texts = {part.type: part.value for part in mail.content}
    return {
        "message_id": message_id,
        "from": mail.from_.model_dump(),
        "personalizations": [one.model_dump() for one in mail.personalizations],
        "to": [mailbox.email for mailbox in mail.recipients()],
        "reply_to": mail.reply_to and mail.reply_to.model_dump(),
        "subject": truncate(mail.subject),
        "text": truncate(texts.get("text/plain", "")),
        "html": truncate(texts.get("text/html", "")),
        "attachments": [
            {
                "filename": file.filename,
                "type": file.type,
                "bytes": len(base64.b64decode(file.content)),
            }
            for file in mail.attachments
        ],
        "headers": mail.headers,
        "categories": mail.categories,
        "custom_args": mail.custom_args,
        "send_at": mail.send_at,
        "sandbox_mode": mail.mail_settings.sandbox_mode.enable,
    }
