"""Where access tokens come from: OAuth 2.0 client credentials (RFC 6749, 4.4), and the service
accounts of Google, whose signed assertions google-auth makes (RFC 7523).
"""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, cast
from urllib.parse import quote_plus

import google.auth.transport
from google.auth.credentials import DEFAULT_UNIVERSE_DOMAIN
from google.auth.exceptions import GoogleAuthError
from google.oauth2.service_account import Credentials
from pydantic import AfterValidator, Field, SecretStr, StringConstraints, TypeAdapter

from connectors.base import ConnectorSettings, Misconfigured, Unavailable
from connectors.toolkit.http import HttpClient, HttpUrl, is_header
from connectors.toolkit.http.replies import Response, excerpt, response_error
from connectors.toolkit.tokens import Token, TokenSource

# Where an endpoint does not say how long (it need not: RFC 6749, 5.1), or says nonsense.
USUAL_LIFETIME = timedelta(minutes=5)
MAX_LIFETIME = timedelta(days=1)

# Errors that pass, whatever the status (RFC 6749, 4.1.2.1; `internal_failure` is Google's).
TEMPORARY_ERRORS = frozenset({"temporarily_unavailable", "server_error", "internal_failure"})

NotEmpty = Annotated[str, StringConstraints(min_length=1)]


class ClientCredentials(ConnectorSettings):
    """An identity at an OAuth 2.0 token endpoint."""

    token_url: HttpUrl
    """The address of the token endpoint."""
    client_id: NotEmpty
    """Who we are there."""
    client_secret: Annotated[SecretStr, Field(min_length=1)]
    """What proves it."""
    scopes: tuple[NotEmpty, ...] = ()
    """The rights to ask for; without any, those that the endpoint gives by itself."""
    audience: NotEmpty | None = None
    """The API that the token is meant for, where the endpoint asks for that."""
    client_auth: Literal["basic", "body"] = "basic"
    """Whether id and secret go into the header `Authorization` or into the body."""


def client_credentials(
    settings: ClientCredentials, http: HttpClient, limit: timedelta
) -> TokenSource:
    """The tokens of a client, asked for through `http`, whose requests take at most `limit`."""
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
        headers["Authorization"] = basic(settings.client_id, secret)

    def fetch() -> Token:
        response = http.request("POST", settings.token_url, headers=headers, form=form)
        _check(response, hide=(secret, quote_plus(secret), headers.get("Authorization")))
        return _token(response)

    name = json.dumps([settings.token_url, settings.client_id, settings.scopes, settings.audience])
    return TokenSource(name, secret.encode(), fetch, limit)


def basic(client_id: str, secret: str) -> str:
    """The header value of a client: id and secret are form-encoded first (RFC 6749, 2.3.1)."""
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def _service_account_key(given: SecretStr) -> SecretStr:
    text = given.get_secret_value().strip()
    if not text.startswith("{"):
        try:
            text = Path(text).read_text("utf-8")
        except (OSError, ValueError):
            raise ValueError("must be the JSON of a key, or a file that holds it") from None
    try:
        key = json.loads(text)
        credentials = _credentials(key, ())
        TypeAdapter(HttpUrl).validate_python(key["token_uri"])
    except (ValueError, TypeError, KeyError, AttributeError, GoogleAuthError):
        # The reason may quote the key.
        raise ValueError("must hold a service account's key as Google hands it out") from None
    if credentials.universe_domain != DEFAULT_UNIVERSE_DOMAIN:
        raise ValueError("must be of googleapis.com: other clouds have no token endpoint")
    return SecretStr(text)


ServiceAccountKey = Annotated[SecretStr, AfterValidator(_service_account_key)]
"""The JSON of a Google service account's key, given as it is or as the path of its file."""


def service_account(
    key: SecretStr, scopes: Iterable[str], http: HttpClient, limit: timedelta
) -> TokenSource:
    """The tokens of a Google service account, by its ServiceAccountKey, for these scopes, asked
    for through `http`, whose requests take at most `limit`."""
    fields = json.loads(key.get_secret_value())
    scopes = sorted(scopes)
    credentials = _credentials(fields, scopes)

    def fetch() -> Token:
        transport = _Transport(http)
        credentials.refresh(transport)  # type: ignore[no-untyped-call] # Google's
        return transport.token

    name = json.dumps([fields["token_uri"], fields["client_email"], scopes])
    return TokenSource(name, fields["private_key"].encode(), fetch, limit)


def _credentials(key: Mapping[str, str], scopes: Sequence[str]) -> Credentials:
    make: Any = Credentials.from_service_account_info  # it has no types of its own
    return cast("Credentials", make(key, scopes=scopes))


@dataclass(frozen=True, slots=True)
class _Answer:
    """A reply as google-auth reads it."""

    status: int
    headers: Mapping[str, str]
    data: bytes


class _Transport(google.auth.transport.Request):
    """Takes google-auth's request to its address within our limits, and keeps the token.

    An error is raised here: google-auth would sleep, and ask again. Of a success it is shown no
    more than what was understood: it trips over some of what an endpoint may answer.
    """

    token: Token

    def __init__(self, http: HttpClient) -> None:
        self._http = http

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,  # noqa: ARG002 - the limits are those of the client
        **_: Any,
    ) -> _Answer:
        response = self._http.request(method, url, headers=headers, body=body)
        _check(response)
        self.token = _token(response)
        understood = {
            "access_token": self.token.value,
            "expires_in": int(self.token.lifetime.total_seconds()),
        }
        return _Answer(response.status, {}, json.dumps(understood).encode())


def _check(response: Response, hide: Iterable[str | None] = ()) -> None:
    """Raises what the endpoint's error (RFC 6749, 5.2) means to a message that needs a token."""
    if response.status == 200:
        return
    fields = _fields(response)
    error, description = fields.get("error"), fields.get("error_description")
    refused = response_error(response, hide, description if isinstance(description, str) else None)
    code = excerpt(error, hide) if isinstance(error, str) and error else refused.code
    detail = f"the token endpoint answers {response.status}: {refused.detail}"
    if isinstance(refused, Unavailable):
        raise Unavailable(code, detail, retry_after=refused.retry_after)
    if code in TEMPORARY_ERRORS:
        raise Unavailable(code, detail)
    raise Misconfigured(code, detail)


def _token(response: Response) -> Token:
    fields = _fields(response)
    kind = fields.get("token_type", "Bearer")
    if not isinstance(kind, str) or kind.casefold() != "bearer":
        raise Misconfigured("token_type", "the token endpoint gives out no bearer tokens")
    value = fields.get("access_token")
    if not isinstance(value, str) or not value or not is_header("Authorization", value):
        raise Misconfigured("token_illegible", "the token endpoint answers 200, but with no token")
    try:
        lifetime = timedelta(seconds=float(fields["expires_in"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        lifetime = USUAL_LIFETIME
    if lifetime <= timedelta(0):
        lifetime = USUAL_LIFETIME
    return Token(value, min(lifetime, MAX_LIFETIME))


def _fields(response: Response) -> Mapping[str, Any]:
    try:
        fields = response.json()
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}
