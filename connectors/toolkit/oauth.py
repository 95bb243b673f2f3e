"""Access tokens by OAuth 2.0 client credentials (RFC 6749, 4.4)."""

import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated, Literal
from urllib.parse import quote_plus

from pydantic import Field, SecretStr, StringConstraints

from connectors.base import ConnectorSettings, Misconfigured, Unavailable
from connectors.toolkit.excerpts import excerpt
from connectors.toolkit.http import HttpClient, HttpUrl, Response, is_header, response_error
from connectors.toolkit.signatures import encode_basic
from connectors.toolkit.tokens import Token, TokenSource

# Used if the endpoint reports no valid lifetime; it need not (RFC 6749, 5.1).
DEFAULT_LIFETIME = timedelta(minutes=5)
MAX_LIFETIME = timedelta(days=1)

# Temporary errors, whatever the status (RFC 6749, 4.1.2.1; `internal_failure` is Google's).
TEMPORARY_ERRORS = frozenset({"temporarily_unavailable", "server_error", "internal_failure"})

NotEmpty = Annotated[str, StringConstraints(min_length=1)]


class ClientCredentials(ConnectorSettings):
    """A client of an OAuth 2.0 token endpoint."""

    token_url: HttpUrl
    """The URL of the token endpoint."""
    client_id: NotEmpty
    """The client id."""
    client_secret: Annotated[SecretStr, Field(min_length=1)]
    """The client secret."""
    scopes: tuple[NotEmpty, ...] = ()
    """The scopes to request; without any, the endpoint's default scopes."""
    audience: NotEmpty | None = None
    """The API that the token is for, if the endpoint requires it."""
    client_auth: Literal["basic", "body"] = "basic"
    """Whether to send the id and the secret in the Authorization header or in the body."""


def client_credentials(
    settings: ClientCredentials, http: HttpClient, fetch_limit: timedelta
) -> TokenSource:
    """Return the source of a client's tokens.

    Args:
        settings: The client.
        http: The client that sends the requests for tokens.
        fetch_limit: The maximum time of a request by `http`.
    """
    secret = settings.client_secret.get_secret_value()
    form = {"grant_type": "client_credentials"}
    headers = {"Accept": "application/json"}
    if settings.scopes:
        form["scope"] = " ".join(settings.scopes)
    if settings.audience:
        form["audience"] = settings.audience
    if settings.client_auth == "body":
        form |= {"client_id": settings.client_id, "client_secret": secret}
    else:
        # The id and the secret are form-encoded first (RFC 6749, 2.3.1).
        pair = encode_basic(quote_plus(settings.client_id), quote_plus(secret))
        headers["Authorization"] = f"Basic {pair}"

    def fetch() -> Token:
        response = http.request("POST", settings.token_url, headers=headers, form=form)
        return read_token(response, hide=(secret, quote_plus(secret), headers.get("Authorization")))

    name = json.dumps([settings.token_url, settings.client_id, settings.scopes, settings.audience])
    return TokenSource(name, secret.encode(), fetch, fetch_limit)


def read_token(response: Response, hide: Iterable[str | None] = ()) -> Token:
    """Return the token in a response of a token endpoint.

    Args:
        response: The response.
        hide: The values that must not appear in an error's detail.

    Raises:
        Unavailable: The endpoint reports a temporary error.
        Misconfigured: It reports another error (RFC 6749, 5.2), or its token cannot be used.
    """
    fields = response.json_object()
    if response.status != 200:
        raise _endpoint_error(response, fields.get("error"), fields.get("error_description"), hide)
    token_type = fields.get("token_type", "Bearer")
    if not isinstance(token_type, str) or token_type.casefold() != "bearer":
        raise Misconfigured("token_type", "the token endpoint does not return bearer tokens")
    value = fields.get("access_token")
    if not isinstance(value, str) or not value or not is_header("Authorization", value):
        raise Misconfigured("no_token", "the token endpoint returned 200 without a valid token")
    try:
        lifetime = timedelta(seconds=float(fields["expires_in"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        lifetime = DEFAULT_LIFETIME
    if lifetime <= timedelta(0):
        lifetime = DEFAULT_LIFETIME
    return Token(value, min(lifetime, MAX_LIFETIME))


def _endpoint_error(
    response: Response, error: object, description: object, hide: Iterable[str | None]
) -> Unavailable | Misconfigured:
    """Return what an error of the token endpoint means for a message that needs a token."""
    usual = response_error(response, hide, description if isinstance(description, str) else None)
    code = excerpt(error, hide) if isinstance(error, str) and error else usual.code
    detail = f"the token endpoint returned {response.status}: {usual.detail}"
    if isinstance(usual, Unavailable):
        return Unavailable(code, detail, retry_after=usual.retry_after)
    if code in TEMPORARY_ERRORS:
        return Unavailable(code, detail)
    return Misconfigured(code, detail)
