"""Settings of the `sba` connector."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from connectors.sba.webhooks import public_key
from connectors.toolkit.http import BaseUrl, HttpSettings, HttpUrl


def _check_certificate(pem: str) -> str:
    public_key(pem)
    return pem


Secret = Annotated[SecretStr, Field(min_length=1)]
Certificate = Annotated[str, AfterValidator(_check_certificate)]


class SbaSettings(HttpSettings):
    """A merchant's account, the API to use and the secrets of its webhook."""

    api: Literal["rest", "gateway"] = "rest"
    """`rest` for the older REST API with forms, `gateway` for the e-commerce gateway with JSON."""
    url: BaseUrl | None = None
    """The base URL of the API. Defaults to the bank's production host. The test hosts are
    `https://3dsec.sberbank.ru` for `rest` and `https://ecomtest.sberbank.ru` for `gateway`."""
    user_name: SecretStr | None = None
    """The name of the merchant's service account, which usually ends in `-api`."""
    password: SecretStr | None = None
    """The password of the service account."""
    token: SecretStr | None = None
    """The merchant's token, instead of `user_name` and `password`."""
    callback_url: HttpUrl | None = None
    """The public URL of this agent's status webhook, sent as `dynamicCallbackUrl` with each
    registration. Without it, the bank uses the URL configured for the merchant's account, if
    any."""
    webhook_secrets: Annotated[tuple[Secret, ...], Field(max_length=2)] = ()
    """The shared key with which the bank signs callbacks. Set both keys during a rotation."""
    webhook_certificates: Annotated[tuple[Certificate, ...], Field(max_length=2)] = ()
    """The certificate or public key in PEM with which the bank signs callbacks, if it uses RSA.
    Without this and without `webhook_secrets`, the webhook is disabled."""

    @model_validator(mode="after")
    def _check_credentials(self) -> Self:
        is_set = bool(self.user_name), bool(self.password), bool(self.token)
        if is_set not in {(True, True, False), (False, False, True)}:
            raise ValueError("token: set either token, or user_name and password.")
        return self
