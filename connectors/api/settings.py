"""Settings of the `api` connector."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from connectors.api.templates import TemplateText
from connectors.base import ConnectorSettings
from connectors.toolkit.generic_webhooks import WebhookSettings
from connectors.toolkit.http import BaseUrl, HeaderName, HeaderSecret
from connectors.toolkit.json_paths import JsonPath
from connectors.toolkit.oauth import ClientCredentials
from connectors.toolkit.service_accounts import ServiceAccountKey
from connectors.toolkit.signatures import STANDARD_HEADERS, StandardSecrets

# A message must not change the identity or the framing of a request.
RESERVED_HEADERS = frozenset(
    {
        "authorization",
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


# The agent's settings may replace this header, but a message may not: with another message's uid
# the API would drop it as a repeat.
MESSAGE_RESERVED_HEADERS = RESERVED_HEADERS | {"idempotency-key"}


def _check_not_reserved(name: str) -> str:
    if name.lower() in RESERVED_HEADERS | STANDARD_HEADERS:
        raise ValueError("set by the connector itself. Remove it.")
    return name


CustomHeaderName = Annotated[HeaderName, AfterValidator(_check_not_reserved)]


class ServiceAccount(ConnectorSettings):
    """A Google service account."""

    key: ServiceAccountKey
    """The service account's JSON key, or the path of the file that contains it."""
    scopes: tuple[Annotated[str, StringConstraints(min_length=1)], ...] = Field(min_length=1)
    """The scopes to request, such as `https://www.googleapis.com/auth/cloud-platform`."""


class ApiSettings(WebhookSettings):
    """An HTTP API: the credentials, how requests are built, and how responses are read."""

    uri: BaseUrl
    """The base URL that paths are appended to."""
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    """The method of every request."""
    content_type: Annotated[str, Field(pattern=r"^[\x21-\x7e]+(; ?[\x21-\x7e]+)*$")] = (
        "application/json"
    )
    """The content type of requests, unless the message sets the header itself."""
    headers: dict[CustomHeaderName, HeaderSecret] = Field(default_factory=dict)
    """Headers of every request. Their values are treated as secrets."""

    token: HeaderSecret | None = None
    """A static token. For the scheme Basic, the encoded credentials."""
    auth_scheme: HeaderName = "Bearer"
    """The scheme before the token in the `Authorization` header."""
    oauth: ClientCredentials | None = None
    """OAuth 2.0 client credentials to fetch tokens with, instead of a static token."""
    service_account: ServiceAccount | None = None
    """A Google service account to fetch tokens with, instead of a static token."""
    signing_secrets: StandardSecrets = ()
    """Secrets to sign requests with, as defined by Standard Webhooks: each `whsec_` followed by a
    key in base64. While you rotate a secret, list the new one and the old one."""

    path_template: TemplateText | None = None
    """A template for the path and query. Without one, the path is the message's recipient."""
    header_templates: dict[CustomHeaderName, TemplateText] = Field(default_factory=dict)
    """Templates for more headers."""
    body_template: TemplateText | None = None
    """A template for the request body. Without one, the message's payload or body is sent."""

    success_statuses: frozenset[Annotated[int, Field(ge=200, le=499)]] | None = Field(
        default=None, min_length=1
    )
    """The HTTP statuses with which the API accepts a message. Defaults to 200–299."""
    success_path: JsonPath | None = None
    """A JSONPath that must match in a response for it to be a success."""
    success_value: bool | int | str | None = None
    """The value that `success_path` must find. Without one, any match is a success."""
    id_path: JsonPath | None = None
    """A JSONPath to the API's ID of the message."""
    retry_after_path: JsonPath | None = None
    """A JSONPath to the number of seconds to wait before the next attempt."""

    @model_validator(mode="after")
    def _check_combinations(self) -> "ApiSettings":
        identities = (self.token, self.oauth, self.service_account)
        if sum(map(bool, identities)) > 1:
            raise ValueError("token, oauth, service_account: set only one of them.")
        if self.success_value is not None and self.success_path is None:
            raise ValueError("success_value: only allowed with success_path. Set success_path.")
        if repeated := {name.lower() for name in self.headers} & {
            name.lower() for name in self.header_templates
        }:
            names = ", ".join(sorted(repeated))
            raise ValueError(f"header_templates: {names} already set in headers. Remove one.")
        return self
