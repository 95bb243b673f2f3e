"""Sends mail through SendGrid (v3 Mail Send) and reads what SendGrid calls back with.

Statuses and errors: https://www.twilio.com/docs/sendgrid/api-reference/mail-send/errors
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from connectors.base import (
    Accepted,
    AttachmentSource,
    Channel,
    ErrorCode,
    Misconfigured,
    OutboundMessage,
    Received,
    Rejected,
    SendError,
    Unavailable,
    Uncertain,
    UnsignedWebhook,
    WebhookKind,
    WebhookRequest,
    WebhookResponse,
)
from connectors.sendgrid.inbound import mails
from connectors.sendgrid.requests import request_of
from connectors.sendgrid.webhooks import (
    public_key,
    receipts,
    verify_credentials,
    verify_signature,
)
from connectors.toolkit.http import BaseUrl, HeaderSecret, HttpConnector, HttpSettings
from connectors.toolkit.http.replies import (
    Response,
    excerpt,
    message_id,
    parse_retry_after,
    response_error,
)
from connectors.toolkit.mail.mime import mailbox

# SendGrid writes "30 MB"; whatever it means by that, it answers 413 to what is above.
LARGEST_REQUEST_BYTES = 30 * 1024 * 1024


def _mailbox(text: str) -> str:
    mailbox(text)
    return text


def _public_key(text: str) -> str:
    public_key(text)
    return text


PublicKey = Annotated[str, AfterValidator(_public_key)]
# Without its lower bound an empty variable of the environment would be a password.
Password = Annotated[SecretStr, Field(min_length=1)]


class SendGridSettings(HttpSettings):
    """Our account at SendGrid."""

    api_key: Annotated[HeaderSecret, Field(min_length=1)]
    """An API key with the permission Mail Send."""
    base_url: BaseUrl = "https://api.sendgrid.com"
    """Where the API is: `https://api.eu.sendgrid.com` for a subuser in the EU."""
    sender: Annotated[str, AfterValidator(_mailbox)] | None = None
    """The From of messages that name none, `Name <address>` or an address alone."""
    sandbox_mode: bool = False
    """Have SendGrid check every message and deliver none. Messages become `sent` all the same."""
    event_public_keys: Annotated[tuple[PublicKey, ...], Field(max_length=2)] = ()
    """The verification key of the Signed Event Webhook; two while one replaces the other."""
    inbound_public_keys: Annotated[tuple[PublicKey, ...], Field(max_length=2)] = ()
    """The public key of Inbound Parse's security policy, if it has one; two while one replaces
    the other. Every call must then be signed."""
    inbound_username: Annotated[str, Field(pattern="^[^:]+$")] | None = None
    """The user name in the URL that Inbound Parse posts to. Every call must then bring it."""
    inbound_passwords: Annotated[tuple[Password, ...], Field(max_length=2)] = ()
    """The password that goes with it; two while one replaces the other."""

    @model_validator(mode="after")
    def _credentials_are_whole(self) -> Self:
        if (self.inbound_username is None) != (not self.inbound_passwords):
            raise ValueError("inbound_username and inbound_passwords go together")
        return self


class SendGrid(HttpConnector[SendGridSettings]):
    """The connector `sendgrid`."""

    Settings = SendGridSettings
    channels: ClassVar[frozenset[Channel]] = frozenset({"email"})
    attachment_sources: ClassVar[frozenset[AttachmentSource]] = frozenset({"content"})
    documentation = "https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send"
    errors = (
        ErrorCode("400", Rejected, "the request is not valid; the text names the field"),
        ErrorCode("401", Misconfigured, "the API key is wrong, or the plan's credits are used up"),
        ErrorCode("403", Misconfigured, "no access, or the agent's sender is no verified identity"),
        ErrorCode(
            "sender_not_verified",
            Rejected,
            "403 for `from`, where the message itself named the sender",
        ),
        ErrorCode("404", Misconfigured, "no such path: `base_url` is wrong"),
        ErrorCode("405", Misconfigured, "no such method there: `base_url` is wrong"),
        ErrorCode("406", Misconfigured, "the Accept header was lost on the way"),
        ErrorCode("413", Rejected, "the message is too large"),
        ErrorCode("415", Rejected, "the request is not valid UTF-8"),
        ErrorCode("429", Unavailable, "too many requests; again at X-RateLimit-Reset"),
        ErrorCode("500", Uncertain, "SendGrid failed; nobody can say how far it got"),
        ErrorCode("502", Unavailable, "SendGrid is not reached behind its gateway"),
        ErrorCode("503", Unavailable, "SendGrid is not available"),
        ErrorCode("504", Uncertain, "SendGrid's gateway waited in vain for its answer"),
    )

    def __init__(self, settings: SendGridSettings) -> None:
        super().__init__(settings)
        self._event_keys = [public_key(text) for text in settings.event_public_keys]
        self._inbound_keys = [public_key(text) for text in settings.inbound_public_keys]

    @property
    def webhooks(self) -> frozenset[WebhookKind]:
        kinds: set[WebhookKind] = set()
        if self._event_keys:
            kinds.add("status")
        if self._inbound_keys or self.settings.inbound_passwords:
            kinds.add("inbound")
        return frozenset(kinds)

    def send(self, message: OutboundMessage) -> Accepted:
        """Give the mail to SendGrid. Its id there is the beginning of `sg_message_id`, by which
        events name it."""
        request = request_of(message, self.settings.sender, sandbox_mode=self.settings.sandbox_mode)
        body = json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode()
        if len(body) > LARGEST_REQUEST_BYTES:
            size = f"{len(body)} of {LARGEST_REQUEST_BYTES} bytes, the files in base64"
            raise Rejected("too_large", size)
        key = self.settings.api_key.get_secret_value()
        response = self.http.request(
            "POST",
            f"{self.settings.base_url}/v3/mail/send",
            headers={
                "Authorization": f"Bearer {key}",
                "Accept": "application/json",
                "Content-Type": "application/json",
            },
            body=body,
        )
        # 200 is the answer in sandbox mode.
        if response.status not in {200, 202}:
            raise self._refusal(message, response, [key, *_private(message, request)])
        return Accepted(message_id(response.headers.get("X-Message-Id")), str(response.status))

    def receive(self, request: WebhookRequest) -> Received:
        """Events, or mail that came in. What is set to verify a mail with must all fit, so that
        none is the weaker way in."""
        if request.kind not in self.webhooks:
            raise UnsignedWebhook("nothing is set to verify it with")
        if request.kind == "status":
            verify_signature(request, self._event_keys)
            return Received(receipts(request.body))
        if self._inbound_keys:
            verify_signature(request, self._inbound_keys)
        if self.settings.inbound_username is not None:
            passwords = [one.get_secret_value() for one in self.settings.inbound_passwords]
            verify_credentials(request, self.settings.inbound_username, passwords)
        return Received(mails(request), WebhookResponse(200))

    def _refusal(
        self, message: OutboundMessage, response: Response, hide: list[str | None]
    ) -> SendError:
        problems = _problems(response)
        text = "; ".join(f"{field}: {said}" if field else said for field, said in problems) or None
        code = str(response.status)
        fields = {field.partition(".")[0] for field, _ in problems}
        if code == "403" and message.sender and "from" in fields:
            # Whoever writes messages must not be able to stop the agent with them.
            code = "sender_not_verified"
        known = next((row for row in self.errors if row.code == code), None)
        if known is None:
            return response_error(response, hide, text)
        return known.error(excerpt(text or response.text, hide), _wait(response))


def _private(message: OutboundMessage, request: Mapping[str, Any]) -> Iterable[str | None]:
    """What an error must not quote: the recipients, in every way they are written, and the
    content."""
    for recipients in request["personalizations"][0].values():
        for recipient in recipients:
            yield from recipient.values()
    yield from (message.recipient, *message.cc, *message.bcc)
    yield from (message.subject, message.body, message.html)


def _problems(response: Response) -> list[tuple[str, str]]:
    """Field and text of each of `{"errors": [{"field", "message", "help"}]}`."""
    try:
        reply = response.json()
    except ValueError:
        return []
    errors = reply.get("errors") if isinstance(reply, dict) else None
    return [
        (str(error.get("field") or ""), str(error.get("message") or ""))
        for error in (errors if isinstance(errors, list) else [])
        if isinstance(error, dict)
    ]


def _wait(response: Response) -> timedelta | None:
    """The wait until X-RateLimit-Reset (Unix seconds), else what Retry-After says."""
    now = datetime.now(UTC)
    reset = response.headers.get("X-RateLimit-Reset", "")
    if response.status == 429 and re.fullmatch("[0-9]{1,12}", reset):
        return parse_retry_after(str(math.ceil(int(reset) - now.timestamp())), now)
    return response.retry_after
