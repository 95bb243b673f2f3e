"""Twilio: SMS and MMS, and other networks by addresses such as `whatsapp:+14155552671`.

Wire format: https://www.twilio.com/docs/messaging/api/message-resource
"""

import base64
import re
from typing import Annotated, ClassVar, Self
from urllib.parse import urlencode, urlsplit

from pydantic import AfterValidator, Field, model_validator

from connectors.base import (
    Accepted,
    AttachmentSource,
    Channel,
    ErrorCode,
    OutboundMessage,
    Received,
    Rejected,
    SendError,
    WebhookKind,
    WebhookRequest,
)
from connectors.toolkit.http import (
    BaseUrl,
    HeaderSecret,
    HttpConnector,
    HttpSettings,
    HttpUrl,
)
from connectors.toolkit.http.replies import Response, excerpt, message_id, response_error
from connectors.twilio.errors import ERROR_OF_CODE, ERRORS
from connectors.twilio.webhooks import UID_PARAMETER, read

BODY_LIMIT_CHARACTERS = 1600
MEDIA_LIMIT = 10

# Twilio repeats a call once, and only where it could not connect. This has it repeat on every
# error, up to five times; the fragment itself is neither sent nor signed.
# https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides
REPEAT_ON_EVERY_ERROR = "#rc=5&rp=all"


def _callable_by_twilio(address: str) -> str:
    if "_" in (urlsplit(address).hostname or ""):
        raise ValueError("must name a host without an underscore: Twilio refuses it")
    return address


# Without its lower bound an empty variable of the environment would verify anybody's webhooks.
Secret = Annotated[HeaderSecret, Field(min_length=1)]


class TwilioSettings(HttpSettings):
    """One account, or subaccount, and who sends.

    It is known by its auth token, or by an API key, which can be withdrawn by itself.
    """

    base_url: BaseUrl = "https://api.twilio.com"
    """The API; another region has another one."""
    account_sid: Annotated[str, Field(pattern=r"^AC[0-9a-fA-F]{32}$")]
    """The account, also where an API key is used."""
    auth_token: Secret | None = None
    """The account's auth token. It verifies webhooks too."""
    api_key_sid: Annotated[str, Field(pattern=r"^SK[0-9a-fA-F]{32}$")] | None = None
    """The API key to send with, in place of the auth token."""
    api_key_secret: Secret | None = None
    """The secret of the API key."""
    messaging_service_sid: Annotated[str, Field(pattern=r"^MG[0-9a-fA-F]{32}$")] | None = None
    """The messaging service that picks a sender for each message that names none."""
    sender: Annotated[str, Field(min_length=1)] | None = None
    """The sender of messages that name none: a number, a short code, a name, or an address of
    another network, `whatsapp:+14155552671`."""
    status_callback: Annotated[HttpUrl, AfterValidator(_callable_by_twilio)] | None = None
    """Where Twilio reports what becomes of a message: this agent's status webhook, by its public
    address. Without it, only what the messaging service is set to is reported."""
    validity_period_seconds: Annotated[int, Field(ge=1, le=36_000)] | None = None
    """How long Twilio may keep a message that it cannot send at once; for Twilio 10 hours."""
    webhook_auth_tokens: Annotated[tuple[Secret, ...], Field(max_length=2)] = ()
    """Further secrets that webhooks may be signed with: the other auth token while they are
    changed, or a shared key."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.api_key_sid is None) != (self.api_key_secret is None):
            raise ValueError("api_key_sid and api_key_secret go together")
        if self.auth_token is None and self.api_key_sid is None:
            raise ValueError("auth_token, or api_key_sid and api_key_secret, must be given")
        if self.messaging_service_sid is None and self.sender is None:
            raise ValueError("messaging_service_sid or sender must be given")
        return self


class Twilio(HttpConnector[TwilioSettings]):
    """Sends SMS and MMS through Twilio, and reads what it reports and receives."""

    Settings = TwilioSettings
    documentation = "https://www.twilio.com/docs/messaging/api/message-resource"
    errors: ClassVar[tuple[ErrorCode, ...]] = ERRORS
    channels: ClassVar[frozenset[Channel]] = frozenset({"sms", "mms"})
    attachment_sources: ClassVar[frozenset[AttachmentSource]] = frozenset({"url"})

    def __init__(self, settings: TwilioSettings) -> None:
        super().__init__(settings)
        self._address = (
            f"{settings.base_url}/2010-04-01/Accounts/{settings.account_sid}/Messages.json"
        )
        key = settings.api_key_secret or settings.auth_token
        self._password = key.get_secret_value() if key else ""
        identity = f"{settings.api_key_sid or settings.account_sid}:{self._password}"
        self._credentials = base64.b64encode(identity.encode()).decode()
        tokens = (settings.auth_token, *settings.webhook_auth_tokens)
        self._webhook_secrets = tuple(token.get_secret_value() for token in tokens if token)

    def send(self, message: OutboundMessage) -> Accepted:
        _check_limits(message)
        response = self.http.request(
            "POST",
            self._address,
            headers={
                "Authorization": f"Basic {self._credentials}",
                "Accept": "application/json",
                "Content-Type": "application/x-www-form-urlencoded",
            },
            body=urlencode(self._parameters(message)).encode(),
        )
        if not 200 <= response.status < 300:
            raise _refused(response, hide=(self._password, self._credentials, *_private(message)))
        return Accepted(message_id(_fields(response).get("sid")), str(response.status))

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
        address = self.settings.status_callback
        if address is None:
            return None
        # Our own id comes back with each report, so that it finds its message even where
        # Twilio's id never reached us.
        joiner = "&" if "?" in address else "?"
        ours = urlencode({UID_PARAMETER: message.uid})
        return f"{address}{joiner}{ours}{REPEAT_ON_EVERY_ERROR}"

    @property
    def webhooks(self) -> frozenset[WebhookKind]:
        return frozenset({"inbound", "status"}) if self._webhook_secrets else frozenset()

    def receive(self, request: WebhookRequest) -> Received:
        return read(request, self._webhook_secrets)


def _check_limits(message: OutboundMessage) -> None:
    """Twilio fetches the files itself and checks their sizes then; only it knows them."""
    if len(message.body) > BODY_LIMIT_CHARACTERS:
        raise Rejected(
            "content_too_long", f"{len(message.body)} of {BODY_LIMIT_CHARACTERS} characters"
        )
    if len(message.attachments) > MEDIA_LIMIT:
        raise Rejected("too_many_attachments", f"{len(message.attachments)} of {MEDIA_LIMIT}")


def _private(message: OutboundMessage) -> list[str | None]:
    """What a reply may repeat of `message` and no record may hold."""
    number = message.recipient.rpartition(":")[2]
    files = [attachment.url for attachment in message.attachments]
    return [message.recipient, number, message.body, *files]


def _refused(response: Response, hide: tuple[str | None, ...]) -> SendError:
    """What a reply without success means: by its code where the table has it, else by its status.

    Twilio's usual body holds `code` and `message`, its newer one is that of RFC 9457.
    """
    fields = _fields(response)
    code = str(fields.get("code"))
    texts = (fields.get(name) for name in ("message", "detail", "title"))
    text = next((text for text in texts if isinstance(text, str)), None)
    if error := ERROR_OF_CODE.get(code):
        asked = response.retry_after
        return error.error(excerpt(text or "", hide), asked)
    usual = response_error(response, hide, text)
    if re.fullmatch(r"\d{5}", code) and (isinstance(usual, Rejected) or response.status == 403):
        # Whoever is let in and told a code hears of this one message, so no 403 stops the agent.
        return Rejected(code, usual.detail)
    return usual


def _fields(response: Response) -> dict[str, object]:
    try:
        reply = response.json()
    except ValueError:
        return {}
    return reply if isinstance(reply, dict) else {}
