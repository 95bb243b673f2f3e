"""Settings of the `m2m` connector."""

import hashlib
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, StringConstraints, model_validator

from connectors.toolkit.http import HeaderSecret, HttpSettings, HttpUrl
from connectors.toolkit.signatures import encode_basic

Mode = Literal["soap", "omnichannel"]

DEFAULT_URL: dict[Mode, str] = {
    "soap": "https://api.mcommunicator.ru/m2m/m2m_api.asmx",
    "omnichannel": "https://omnichannel.mts.ru/http-api/v1",
}

# Basic credentials cannot contain a colon in the login (RFC 7617), nor XML a control character.
Login = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x20:\x7f]+$")]
Password = Annotated[SecretStr, Field(min_length=1)]


class M2mSettings(HttpSettings):
    """An MTS account, the service to use and the secrets of its webhook."""

    mode: Mode = "soap"
    """`soap` for M2M of MTS Communicator, `omnichannel` for the HTTP API of MTS Marketolog. The
    two services have separate accounts."""

    url: HttpUrl | None = None
    """The URL of the service. Defaults to the URL of MTS. For `soap` it is the URL of
    `m2m_api.asmx`, for `omnichannel` the base URL to which `/messages` is appended."""

    api_key: HeaderSecret | None = None
    """The API key of the account, instead of `login` and `password`. Only for `soap`."""

    login: Login | None = None
    """The login of the account."""

    password: Password | None = None
    """The password of the account. `soap` sends its MD5 hash, `omnichannel` sends it as Basic
    credentials."""

    sender: Annotated[str, StringConstraints(min_length=1)] | None = None
    """The default sender name (*naming*), which must be registered with MTS. It is also recorded as
    the recipient of inbound messages, because MTS does not report it. Required for `omnichannel`
    and with `webhook_secrets`."""

    webhook_secrets: tuple[Annotated[SecretStr, Field(min_length=16)], ...] = Field(
        default=(), max_length=2
    )
    """The secret that proves that an inbound webhook comes from MTS: the query parameter `secret`
    of the URL registered with MTS. Set both secrets during a rotation. Without one, the webhook is
    disabled. Only for `soap`."""

    webhook_login: Login | None = None
    """If set, webhooks must contain the secret as the password of Basic credentials with this login
    instead of as a query parameter."""

    @model_validator(mode="after")
    def _check_credentials(self) -> Self:
        pair = self.login is not None and self.password is not None
        if (self.login is None) != (self.password is None):
            raise ValueError("login, password: only one is set. Set both or neither.")
        if self.mode == "soap" and pair == (self.api_key is not None):
            raise ValueError("api_key: mode soap needs either api_key, or login and password.")
        if self.mode == "omnichannel" and (not pair or self.api_key or self.sender is None):
            raise ValueError(
                "mode: omnichannel needs login, password and sender. It does not use api_key."
            )
        return self

    @model_validator(mode="after")
    def _check_webhook(self) -> Self:
        if self.webhook_secrets and (self.mode != "soap" or self.sender is None):
            raise ValueError("webhook_secrets: only for mode soap with a sender.")
        if self.webhook_login is not None and not self.webhook_secrets:
            raise ValueError("webhook_login: not used without webhook_secrets.")
        return self

    @property
    def service_url(self) -> str:
        """The URL of the service without a trailing slash."""
        return (self.url or DEFAULT_URL[self.mode]).rstrip("/")

    @property
    def password_md5(self) -> str:
        """The MD5 hash of the password in lower-case hexadecimal, which M2M expects."""
        return hashlib.md5(self._password.encode(), usedforsecurity=False).hexdigest()

    @property
    def basic_credentials(self) -> str:
        """The login and password, encoded as Basic credentials (RFC 7617)."""
        return encode_basic(self.login or "", self._password)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secrets that an error must not quote, in every form in which they are sent."""
        if self.api_key:
            return (self.api_key.get_secret_value(),)
        return (self._password, self.password_md5, self.basic_credentials)

    @property
    def _password(self) -> str:
        return self.password.get_secret_value() if self.password else ""
