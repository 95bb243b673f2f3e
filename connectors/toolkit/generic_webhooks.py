"""Webhooks in Postroom's own JSON format, for providers without a format of their own.

They are signed by Standard Webhooks, or with an HMAC of the body in a header.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Generic, TypeVar

from pydantic import Field, PositiveInt, SecretStr, model_validator

from connectors.base import (
    ConnectorSettings,
    Inbound,
    Receipt,
    UnsignedWebhook,
    UnverifiedWebhook,
    WebhookKind,
    WebhookRequest,
    WebhookResponse,
)
from connectors.toolkit.generic_messages import parse_object, read_message, read_report
from connectors.toolkit.http import HeaderName, HttpConnector, HttpSettings
from connectors.toolkit.signatures import (
    ID_HEADER,
    Algorithm,
    Encoding,
    check_standard_secret,
    is_any_equal,
    sign_hmac,
    verify_standard,
)


class HmacSignature(ConnectorSettings):
    """A signature of the body, made with the UTF-8 bytes of the secret."""

    header: HeaderName
    """The header that contains the signature."""
    algorithm: Algorithm = "sha256"
    """The hash algorithm."""
    encoding: Encoding = "hex"
    """The encoding of the signature."""
    prefix: str = ""
    """The text before the signature, such as `sha256=`."""
    repeat_seconds: PositiveInt = 3600
    """A webhook with neither an id nor a timestamp is a repeat if the same content arrived within
    this time. Afterwards it is stored again."""


class WebhookSettings(HttpSettings):
    """Settings of a connector that verifies generic webhooks."""

    webhook_secrets: tuple[Annotated[SecretStr, Field(min_length=1)], ...] = Field(
        default=(), max_length=2
    )
    """The secret that webhooks are signed with; two while the sender changes from one to the
    other. Without a secret no webhooks are accepted."""
    webhook_hmac: HmacSignature | None = None
    """How webhooks are signed if the signature is an HMAC of the body. Without it they must be
    signed by Standard Webhooks."""

    @model_validator(mode="after")
    def _check_secrets(self) -> "WebhookSettings":
        if self.webhook_hmac is not None and not self.webhook_secrets:
            raise ValueError("webhook_hmac: requires webhook_secrets")
        if self.webhook_hmac is None:
            for secret in self.webhook_secrets:
                try:
                    check_standard_secret(secret)
                except ValueError as error:
                    raise ValueError(f"webhook_secrets: {error}") from None
        return self


W = TypeVar("W", bound=WebhookSettings)


class WebhookConnector(HttpConnector[W], Generic[W]):
    """Base class of connectors whose provider sends generic webhooks."""

    @property
    def webhooks(self) -> frozenset[WebhookKind]:
        return frozenset({"inbound", "status"} if self.settings.webhook_secrets else ())

    def verify(self, request: WebhookRequest) -> WebhookResponse:
        _verify(request, self.settings)
        return WebhookResponse()

    def parse(self, request: WebhookRequest) -> Sequence[Receipt | Inbound]:
        fields = parse_object(request.body)
        if self.settings.webhook_hmac is None:
            key = request.headers[ID_HEADER]
        else:
            key = hashlib.sha256(request.body).hexdigest()
        read = read_report if request.kind == "status" else read_message
        item: Inbound | Receipt = read(fields, key)
        scheme = self.settings.webhook_hmac
        if scheme is not None and item.key == key and fields.get("timestamp") is None:
            item = replace(item, repeat_window=timedelta(seconds=scheme.repeat_seconds))
        return [item]


def _verify(request: WebhookRequest, settings: WebhookSettings) -> None:
    """Check the signature of a request.

    Raises:
        UnsignedWebhook: The signature is missing.
        UnverifiedWebhook: The signature is invalid.
    """
    secrets, scheme = settings.webhook_secrets, settings.webhook_hmac
    if scheme is None:
        verify_standard(secrets, request.headers, request.body, request.received_at)
        return
    given = request.headers.get(scheme.header.lower(), "").strip()
    if not given:
        raise UnsignedWebhook(f"the header {scheme.header} is missing")
    prefix, signature = given[: len(scheme.prefix)], given[len(scheme.prefix) :]
    if scheme.encoding == "hex":
        signature = signature.lower()
    expected = [
        sign_hmac(
            secret.get_secret_value().encode(), request.body, scheme.algorithm, scheme.encoding
        )
        for secret in secrets
    ]
    if not is_any_equal(signature, expected) or prefix != scheme.prefix:
        raise UnverifiedWebhook("the signature is invalid")
