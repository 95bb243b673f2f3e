"""How a generic HTTP API is called, who we are to it, and what its replies mean."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from connectors.api.templates import TemplateText
from connectors.base import ConnectorSettings
from connectors.toolkit.generic_webhooks import WebhookSettings
from connectors.toolkit.http import BaseUrl, HeaderName, HeaderSecret
from connectors.toolkit.json_paths import JsonPath
from connectors.toolkit.oauth import ClientCredentials, ServiceAccountKey
from connectors.toolkit.standard_webhooks import HEADERS as SIGNATURE_HEADERS
from connectors.toolkit.standard_webhooks import SigningSecrets

# A message may not speak with another identity than ours, nor frame the request anew.
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


def _not_reserved(name: str) -> str:
    if name.lower() in RESERVED_HEADERS | SIGNATURE_HEADERS:
        raise ValueError("is set by the connector itself")
    return name


OwnHeaderName = Annotated[HeaderName, AfterValidator(_not_reserved)]


class ServiceAccount(ConnectorSettings):
    """An identity at Google."""

    key: ServiceAccountKey
    """The JSON of the account's key, or the path of the file that holds it."""
    scopes: tuple[Annotated[str, StringConstraints(min_length=1)], ...] = Field(min_length=1)
    """The rights to ask for, as `https://www.googleapis.com/auth/cloud-platform`."""


class ApiSettings(WebhookSettings):
    """One API, our identity there, and what goes there and back."""

    uri: BaseUrl
    """The address that every path is appended to."""
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    """The method of every request."""
    content_type: Annotated[str, Field(pattern=r"^[\x21-\x7e]+(; ?[\x21-\x7e]+)*$")] = (
        "application/json"
    )
    """The type of what is sent, unless the message has a header for it."""
    headers: dict[OwnHeaderName, HeaderSecret] = Field(default_factory=dict)
    """Headers of every request. Their values are taken for secrets."""

    token: HeaderSecret | None = None
    """A token that does not change. For the scheme Basic it is the encoded pair itself."""
    auth_scheme: HeaderName = "Bearer"
    """The word before the token in the header `Authorization`."""
    oauth: ClientCredentials | None = None
    """In place of a token: where to fetch one by OAuth 2.0 client credentials."""
    service_account: ServiceAccount | None = None
    """In place of a token: the Google service account whose tokens to use."""
    signing_secrets: SigningSecrets = ()
    """Secrets to sign requests with by Standard Webhooks, each `whsec_` and a key in base64: one,
    and beside it the one before while the receiver turns from that to the new one."""

    path_template: TemplateText | None = None
    """Makes the path, with its query, in place of the message's recipient."""
    header_templates: dict[OwnHeaderName, TemplateText] = Field(default_factory=dict)
    """Make further headers."""
    body_template: TemplateText | None = None
    """Makes what is sent, in place of the message's payload or body."""

    success_statuses: frozenset[Annotated[int, Field(ge=200, le=499)]] | None = Field(
        default=None, min_length=1
    )
    """The statuses by which the API takes a message. Without them, 200 to 299."""
    success_path: JsonPath | None = None
    """What such a reply must hold, as a JSONPath, to be a success."""
    success_value: bool | int | str | None = None
    """What must be found there. Without it, anything."""
    id_path: JsonPath | None = None
    """Where a reply names the API's id of the message."""
    retry_after_path: JsonPath | None = None
    """Where a reply names the seconds to wait before the next try."""

    @model_validator(mode="after")
    def _settings_fit_together(self) -> "ApiSettings":
        identities = (self.token, self.oauth, self.service_account)
        if sum(map(bool, identities)) > 1:
            raise ValueError("token, oauth and service_account exclude each other")
        if self.success_value is not None and self.success_path is None:
            raise ValueError("success_value needs success_path")
        if twice := {name.lower() for name in self.headers} & {
            name.lower() for name in self.header_templates
        }:
            raise ValueError(f"{', '.join(sorted(twice))}: in headers and in header_templates")
        return self
