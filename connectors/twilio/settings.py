"""Settings of the `twilio` connector."""

from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from connectors.toolkit.http import BaseUrl, HeaderSecret, HttpSettings, HttpUrl


def _check_host(address: str) -> str:
    if "_" in (urlsplit(address).hostname or ""):
        raise ValueError("the host name contains an underscore, which Twilio does not accept")
    return address


# Without a minimum length, an unset environment variable would let anyone sign webhooks.
Secret = Annotated[HeaderSecret, Field(min_length=1)]


class TwilioSettings(HttpSettings):
    """A Twilio account or subaccount, its credentials and its default sender."""

    base_url: BaseUrl = "https://api.twilio.com"
    """The base URL of the API. Set it to use another Twilio region."""
    account_sid: Annotated[str, Field(pattern=r"^AC[0-9a-fA-F]{32}$")]
    """The account's SID. Required with an API key too."""
    auth_token: Secret | None = None
    """The account's auth token. Used to send messages and to verify webhooks."""
    api_key_sid: Annotated[str, Field(pattern=r"^SK[0-9a-fA-F]{32}$")] | None = None
    """The SID of an API key, to send messages without the auth token."""
    api_key_secret: Secret | None = None
    """The secret of the API key."""
    messaging_service_sid: Annotated[str, Field(pattern=r"^MG[0-9a-fA-F]{32}$")] | None = None
    """The messaging service, which selects a sender for messages that do not specify one."""
    sender: Annotated[str, Field(min_length=1)] | None = None
    """The default sender: a phone number, a short code, an alphanumeric sender ID, or a channel
    address such as `whatsapp:+14155552671`."""
    status_callback: Annotated[HttpUrl, AfterValidator(_check_host)] | None = None
    """The public URL of this agent's status webhook. Without it, Twilio sends status reports only
    to the URL configured for the messaging service, if any."""
    validity_period_seconds: Annotated[int, Field(ge=1, le=36_000)] | None = None
    """How long Twilio may queue a message before it fails. Twilio's default is 10 hours."""
    webhook_auth_tokens: Annotated[tuple[Secret, ...], Field(max_length=2)] = ()
    """Additional secrets to verify webhooks with: the other auth token during a rotation, or a
    shared key."""

    @model_validator(mode="after")
    def _check_credentials_and_sender(self) -> Self:
        if (self.api_key_sid is None) != (self.api_key_secret is None):
            raise ValueError("api_key_sid, api_key_secret: only one is set. Set both or neither.")
        if self.auth_token is None and self.api_key_sid is None:
            raise ValueError("auth_token: missing. Set it, or api_key_sid and api_key_secret.")
        if self.messaging_service_sid is None and self.sender is None:
            raise ValueError("sender: missing. Set it, or messaging_service_sid.")
        return self
