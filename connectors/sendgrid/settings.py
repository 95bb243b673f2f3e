"""Settings of the `sendgrid` connector."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from connectors.sendgrid.webhooks import public_key
from connectors.toolkit.http import BaseUrl, HeaderSecret, HttpSettings
from connectors.toolkit.mail.addresses import parse_mailbox


def _check_mailbox(text: str) -> str:
    parse_mailbox(text)
    return text


def _check_public_key(text: str) -> str:
    public_key(text)
    return text


PublicKey = Annotated[str, AfterValidator(_check_public_key)]
# Without a minimum length, an unset environment variable would be an empty password.
Password = Annotated[SecretStr, Field(min_length=1)]


class SendGridSettings(HttpSettings):
    """A SendGrid account, its default sender and the keys of its webhooks."""

    api_key: Annotated[HeaderSecret, Field(min_length=1)]
    """An API key with the Mail Send permission."""
    base_url: BaseUrl = "https://api.sendgrid.com"
    """The base URL of the API. Use `https://api.eu.sendgrid.com` for an EU subuser."""
    sender: Annotated[str, AfterValidator(_check_mailbox)] | None = None
    """The default sender, as `Name <address>` or an address alone."""
    sandbox_mode: bool = False
    """Whether SendGrid only validates messages and does not deliver them. They still become
    `sent`."""
    event_public_keys: Annotated[tuple[PublicKey, ...], Field(max_length=2)] = ()
    """The verification key of the Signed Event Webhook. Set both keys during a rotation."""
    inbound_public_keys: Annotated[tuple[PublicKey, ...], Field(max_length=2)] = ()
    """The public key of the Inbound Parse security policy, if there is one. If set, every request
    must be signed. Set both keys during a rotation."""
    inbound_username: Annotated[str, Field(pattern="^[^:]+$")] | None = None
    """The user name in the URL that Inbound Parse posts to. If set, every request must contain
    it."""
    inbound_passwords: Annotated[tuple[Password, ...], Field(max_length=2)] = ()
    """The password for `inbound_username`. Set both passwords during a rotation."""

    @model_validator(mode="after")
    def _check_inbound_credentials(self) -> Self:
        if (self.inbound_username is None) != (not self.inbound_passwords):
            raise ValueError(
                "inbound_username, inbound_passwords: only one is set. Set both or neither."
            )
        return self
