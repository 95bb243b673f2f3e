"""Settings of the `gateway` connector."""

from typing import Annotated

from pydantic import Field

from connectors.toolkit.generic_webhooks import WebhookSettings
from connectors.toolkit.http import HeaderName, HeaderSecret, HttpUrl


class GatewaySettings(WebhookSettings):
    """An HTTP gateway and the key to use there."""

    url: HttpUrl
    """The URL that every message is posted to."""
    key: HeaderSecret | None = None
    """The API key. Without one, no key header is sent."""
    key_header: HeaderName = "x-ins-auth-key"
    """The header that carries the key."""
    success_statuses: frozenset[Annotated[int, Field(ge=200, le=299)]] = Field(
        default=frozenset({202}), min_length=1
    )
    """The HTTP statuses with which the gateway accepts a message."""
    content_limit_characters: int | None = Field(default=None, gt=0)
    """The maximum length of a text. Longer texts are rejected without being sent."""
