"""Send SMS and MMS through Twilio, and messages to its other channels, such as WhatsApp.

Wire format: https://www.twilio.com/docs/messaging/api/message-resource
"""

from collections.abc import Sequence
from typing import ClassVar
from urllib.parse import urlencode

from connectors.base import (
    Accepted,
    AttachmentSource,
    Channel,
    ErrorCode,
    Inbound,
    OutboundMessage,
    Receipt,
    Rejected,
    WebhookKind,
    WebhookRequest,
    WebhookResponse,
)
from connectors.toolkit.http import HttpConnector, message_id
from connectors.toolkit.signatures import encode_basic
from connectors.twilio.errors import ERRORS, classify
from connectors.twilio.settings import TwilioSettings
from connectors.twilio.webhooks import UID_PARAMETER, read_webhook, verify_webhook

MAX_BODY_CHARACTERS = 1600
MAX_MEDIA = 10

# By default Twilio repeats a failed request once, and only if it could not connect. This fragment
# makes it repeat up to five times after any failure; it is neither sent nor signed.
# https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides
RETRY_OVERRIDES = "#rc=5&rp=all"


class Twilio(HttpConnector[TwilioSettings]):
    """The connector `twilio`."""

    Settings = TwilioSettings
    documentation = "https://www.twilio.com/docs/messaging/api/message-resource"
    errors: ClassVar[tuple[ErrorCode, ...]] = ERRORS
    channels: ClassVar[frozenset[Channel]] = frozenset({"sms", "mms"})
    attachment_sources: ClassVar[frozenset[AttachmentSource]] = frozenset({"url"})

    def __init__(self, settings: TwilioSettings) -> None:
        super().__init__(settings)
        self._url = f"{settings.base_url}/2010-04-01/Accounts/{settings.account_sid}/Messages.json"
        secret = settings.api_key_secret or settings.auth_token
        self._password = secret.get_secret_value() if secret else ""
        user = settings.api_key_sid or settings.account_sid
        self._credentials = encode_basic(user, self._password)
        tokens = (settings.auth_token, *settings.webhook_auth_tokens)
        self._webhook_secrets = tuple(token.get_secret_value() for token in tokens if token)

    def send(self, message: OutboundMessage) -> Accepted:
        _check_limits(message)
        response = self.http.request(
            "POST",
            self._url,
            headers={
                "Authorization": f"Basic {self._credentials}",
                "Accept": "application/json",
                "Content-Type": "application/x-www-form-urlencoded",
            },
            body=urlencode(self._parameters(message)).encode(),
        )
        if not response.is_success:
            raise classify(response, (self._password, self._credentials, *_private(message)))
        # The status alone means that Twilio has the message, even if the body cannot be parsed.
        fields = response.json_object()
        return Accepted(message_id(fields.get("sid")), str(response.status))

    def _parameters(self, message: OutboundMessage) -> list[tuple[str, str | None]]:
        settings = self.settings
        optional = {
            "From": message.sender or settings.sender,
            "MessagingServiceSid": settings.messaging_service_sid,
            "Body": message.body or None,
            "ValidityPeriod": settings.validity_period_seconds,
            "StatusCallback": self._status_callback(message),
        }
        return [
            ("To", message.recipient),
            *((name, str(value)) for name, value in optional.items() if value is not None),
            *(("MediaUrl", attachment.url) for attachment in message.attachments),
        ]

    def _status_callback(self, message: OutboundMessage) -> str | None:
        """Return the callback URL with the message's uid.

        The uid matches a report to its message even if Twilio's SID never reached us.
        """
        url = self.settings.status_callback
        if url is None:
            return None
        separator = "&" if "?" in url else "?"
        uid = urlencode({UID_PARAMETER: message.uid})
        return f"{url}{separator}{uid}{RETRY_OVERRIDES}"

    @property
    def webhooks(self) -> frozenset[WebhookKind]:
        return frozenset({"inbound", "status"}) if self._webhook_secrets else frozenset()

    def verify(self, request: WebhookRequest) -> WebhookResponse:
        return verify_webhook(request, self._webhook_secrets)

    def parse(self, request: WebhookRequest) -> Sequence[Receipt | Inbound]:
        return read_webhook(request)


def _check_limits(message: OutboundMessage) -> None:
    # The sizes of the files are checked by Twilio, which fetches them.
    if len(message.body) > MAX_BODY_CHARACTERS:
        raise Rejected(
            "content_too_long",
            f"body: {len(message.body)} characters. The maximum is {MAX_BODY_CHARACTERS}.",
        )
    if len(message.attachments) > MAX_MEDIA:
        raise Rejected(
            "too_many_attachments",
            f"attachments: {len(message.attachments)} files. The maximum is {MAX_MEDIA}.",
        )


def _private(message: OutboundMessage) -> list[str | None]:
    """Return the values of a message that Twilio may quote and that must not be stored."""
    number = message.recipient.rpartition(":")[2]
    urls = [attachment.url for attachment in message.attachments]
    return [message.recipient, number, message.body, *urls]
