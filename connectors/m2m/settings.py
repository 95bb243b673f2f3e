"""Which of the two services of MTS is used, and who we are there."""

import base64
import hashlib
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, StringConstraints, model_validator

from connectors.toolkit.http import HeaderSecret, HttpSettings, HttpUrl

Mode = Literal["soap", "omnichannel"]

DEFAULT_URL: dict[Mode, str] = {
    "soap": "https://api.mcommunicator.ru/m2m/m2m_api.asmx",
    "omnichannel": "https://omnichannel.mts.ru/http-api/v1",
}

# A colon would end the login of Basic credentials (RFC 7617), a control character the XML.
Login = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x20:\x7f]+$")]
Password = Annotated[SecretStr, Field(min_length=1)]


class M2mSettings(HttpSettings):
    """The settings of the `m2m` connector."""

    mode: Mode = "soap"
    """`soap` for the service M2M of MTS Communicator, `omnichannel` for the HTTP API of MTS
    Marketolog. The two have different accounts."""

    url: HttpUrl | None = None
    """The service's address, where it is not MTS's own: the page `m2m_api.asmx` for `soap`, what
    `/messages` is appended to for `omnichannel`."""

    api_key: HeaderSecret | None = None
    """The API key of the account, for `soap`, in place of login and password."""

    login: Login | None = None
    """The login of the account."""

    password: Password | None = None
    """The password of the account. `soap` sends its MD5, `omnichannel` Basic credentials."""

    sender: Annotated[str, StringConstraints(min_length=1)] | None = None
    """The sender name (naming) registered with MTS, for messages that name none. Also the
    recipient of what comes in, as the calls of MTS do not say it. Needed for `omnichannel`, and
    with `webhook_secrets`."""

    webhook_secrets: tuple[Annotated[SecretStr, Field(min_length=16)], ...] = Field(
        default=(), max_length=2
    )
    """What proves that a call with an incoming message is from MTS: the parameter `secret` of the
    address registered there. Two while one replaces the other; without any the webhook is off.
    For `soap` only."""

    webhook_login: Login | None = None
    """With it the secret is expected as the password of Basic credentials with this login, and not
    in the address."""

    @model_validator(mode="after")
    def _one_identity(self) -> Self:
        pair = self.login is not None and self.password is not None
        if (self.login is None) != (self.password is None):
            raise ValueError("login and password go together")
        if self.mode == "soap" and pair == (self.api_key is not None):
            raise ValueError("soap takes either api_key, or login and password")
        if self.mode == "omnichannel" and (not pair or self.api_key or self.sender is None):
            raise ValueError("omnichannel takes login, password and sender, and no api_key")
        return self

    @model_validator(mode="after")
    def _one_webhook(self) -> Self:
        if self.webhook_secrets and (self.mode != "soap" or self.sender is None):
            raise ValueError("webhook_secrets are for soap, and need a sender")
        if self.webhook_login is not None and not self.webhook_secrets:
            raise ValueError("webhook_login needs webhook_secrets")
        return self

    @property
    def address(self) -> str:
        """The service's address without a slash at its end."""
        return (self.url or DEFAULT_URL[self.mode]).rstrip("/")

    @property
    def password_md5(self) -> str:
        """The MD5 of the password in lower-case hexadecimal, as the M2M service wants it."""
        return hashlib.md5(self._password.encode(), usedforsecurity=False).hexdigest()

    @property
    def basic(self) -> str:
        """Login and password encoded as Basic credentials (RFC 7617)."""
        return base64.b64encode(f"{self.login}:{self._password}".encode()).decode()

    @property
    def secrets(self) -> tuple[str, ...]:
        """All that no error may quote, in each form in which it is sent."""
        if self.api_key:
            return (self.api_key.get_secret_value(),)
        return (self._password, self.password_md5, self.basic)

    @property
    def _password(self) -> str:
        return self.password.get_secret_value() if self.password else ""
