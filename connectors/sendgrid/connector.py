"""Send e-mail through SendGrid (v3 Mail Send).

Wire format: https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from connectors.base import (
    Accepted,
    AttachmentSource,
    Channel,
    ErrorCode,
    Inbound,
    OutboundMessage,
    Receipt,
    Rejected,
    UnsignedWebhook,
    WebhookKind,
    WebhookRequest,
    WebhookResponse,
)
from connectors.sendgrid.errors import ERRORS, classify
from connectors.sendgrid.inbound import read_inbound
from connectors.sendgrid.requests import build_request
from connectors.sendgrid.settings import SendGridSettings
from connectors.sendgrid.webhooks import (
    public_key,
    read_events,
    verify_signature,
)
from connectors.toolkit.http import HttpConnector, message_id
from connectors.toolkit.signatures import verify_basic_credentials

# SendGrid documents "30 MB" without saying which megabyte; it answers 413 above its limit.
MAX_REQUEST_BYTES = 30 * 1024 * 1024


class SendGrid(HttpConnector[SendGridSettings]):
    """The connector `sendgrid`."""

    Settings = SendGridSettings
    channels: ClassVar[frozenset[Channel]] = frozenset({"email"})
    attachment_sources: ClassVar[frozenset[AttachmentSource]] = frozenset({"content"})
    documentation = "https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send"
    errors: ClassVar[tuple[ErrorCode, ...]] = ERRORS
    mail_webhooks = frozenset({"inbound"})

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
        request = build_request(
            message, self.settings.sender, sandbox_mode=self.settings.sandbox_mode
        )
        body = json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode()
        if len(body) > MAX_REQUEST_BYTES:
            raise Rejected(
                "too_large",
                f"{len(body)} bytes with the attachments in base64. "
                f"The maximum is {MAX_REQUEST_BYTES}.",
            )
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
        # SendGrid answers 200 in sandbox mode, otherwise 202.
        if response.status not in {200, 202}:
            raise classify(response, message, [key, *_private(message, request)])
        # Events refer to the message by an `sg_message_id` that begins with this id.
        return Accepted(message_id(response.headers.get("X-Message-Id")), str(response.status))

    def verify(self, request: WebhookRequest) -> WebhookResponse:
        if request.kind not in self.webhooks:
            raise UnsignedWebhook("no key or password is configured for this webhook")
        if request.kind == "status":
            verify_signature(request, self._event_keys)
            return WebhookResponse()
        # Inbound mail must pass every check that is configured, not just the weakest one.
        if self._inbound_keys:
            verify_signature(request, self._inbound_keys)
        if self.settings.inbound_username is not None:
            passwords = [secret.get_secret_value() for secret in self.settings.inbound_passwords]
            verify_basic_credentials(request.headers, self.settings.inbound_username, passwords)
        return WebhookResponse(200)

    def parse(self, request: WebhookRequest) -> Sequence[Receipt | Inbound]:
        return read_events(request.body) if request.kind == "status" else read_inbound(request)


def _private(message: OutboundMessage, request: Mapping[str, Any]) -> Iterator[str | None]:
    """Yield the values that an error must not quote: recipients as sent and as given, content."""
    for recipients in request["personalizations"][0].values():
        for recipient in recipients:
            yield from recipient.values()
    yield from (message.recipient, *message.cc, *message.bcc)
    yield from (message.subject, message.body, message.html)
