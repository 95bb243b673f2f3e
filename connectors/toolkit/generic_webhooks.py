"""Calls of a provider that has no format of its own: signed by Standard Webhooks, or by an HMAC of
their body in a header.
"""

import base64
import hashlib
import hmac
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import Field, SecretStr, model_validator

from connectors.base import (
    ConnectorSettings,
    Received,
    UnsignedWebhook,
    UnverifiedWebhook,
    WebhookKind,
    WebhookRequest,
)
from connectors.toolkit import standard_webhooks
from connectors.toolkit.generic_messages import read_message, read_object, read_report
from connectors.toolkit.http import HeaderName, HttpConnector, HttpSettings


class HmacSignature(ConnectorSettings):
    """A signature over the body alone, made with the secret as it is."""

    header: HeaderName
    """The header that holds it."""
    algorithm: Literal["sha256", "sha1", "sha512"] = "sha256"
    """The hash."""
    encoding: Literal["hex", "base64"] = "hex"
    """How its bytes are written."""
    prefix: str = ""
    """What stands before it, as `sha256=`."""


class WebhookSettings(HttpSettings):
    """How calls to us are verified."""

    webhook_secrets: tuple[Annotated[SecretStr, Field(min_length=1)], ...] = Field(
        default=(), max_length=2
    )
    """Secrets that calls to us are signed with: one, and beside it the one before or after while
    the sender turns from one to the other. Without any, calls are not taken."""
    webhook_hmac: HmacSignature | None = None
    """Where the signature is an HMAC of the body: in which header, and how. Without it, calls are
    signed by Standard Webhooks."""

    @model_validator(mode="after")
    def _secrets_fit_the_signature(self) -> "WebhookSettings":
        if self.webhook_hmac is not None and not self.webhook_secrets:
            raise ValueError("webhook_hmac needs webhook_secrets")
        if self.webhook_hmac is None:
            for secret in self.webhook_secrets:
                try:
                    standard_webhooks.holding_a_key(secret)
                except ValueError as error:
                    raise ValueError(f"webhook_secrets: {error}") from None
        return self


W = TypeVar("W", bound=WebhookSettings)


class WebhookConnector(HttpConnector[W], Generic[W]):
    """A connector whose provider calls in the generic way."""

    @property
    def webhooks(self) -> frozenset[WebhookKind]:
        return frozenset({"inbound", "status"} if self.settings.webhook_secrets else ())

    def receive(self, request: WebhookRequest) -> Received:
        key = _verified(request, self.settings)
        fields = read_object(request.body)
        read = read_report if request.kind == "status" else read_message
        return Received([read(fields, key)])


def _verified(request: WebhookRequest, settings: WebhookSettings) -> str:
    """Check the signature, and return what tells this call from every other. Raises a WebhookError."""
    secrets = settings.webhook_secrets
    scheme = settings.webhook_hmac
    if scheme is None:
        return standard_webhooks.verify(secrets, request.headers, request.body, request.received_at)
    given = request.headers.get(scheme.header.lower(), "").strip()
    if not given:
        raise UnsignedWebhook(f"no {scheme.header}")
    prefix, signature = given[: len(scheme.prefix)], given[len(scheme.prefix) :]
    if scheme.encoding == "hex":
        signature = signature.lower()
    right = [
        hmac.compare_digest(_hmac(secret, request.body, scheme), signature.encode())
        for secret in secrets
    ]
    if prefix != scheme.prefix or not any(right):
        raise UnverifiedWebhook("the signature is wrong")
    return hashlib.sha256(request.body).hexdigest()


def _hmac(secret: SecretStr, body: bytes, scheme: HmacSignature) -> bytes:
    digest = hmac.digest(secret.get_secret_value().encode(), body, scheme.algorithm)
    return base64.b64encode(digest) if scheme.encoding == "base64" else digest.hex().encode()
