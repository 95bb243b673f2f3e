"""Access tokens of Google service accounts, by signed assertions of google-auth (RFC 7523).

google-auth and its cryptography are large, so they are imported only when an agent uses them.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import AfterValidator, SecretStr, TypeAdapter

from connectors.toolkit.http import HttpClient, HttpUrl
from connectors.toolkit.oauth import read_token
from connectors.toolkit.tokens import Token, TokenSource

if TYPE_CHECKING:
    from google.oauth2.service_account import Credentials

UNIVERSE_DOMAIN = "googleapis.com"


def _check_key(given: SecretStr) -> SecretStr:
    text = given.get_secret_value().strip()
    if not text.startswith("{"):
        try:
            text = Path(text).read_text("utf-8")
        except (OSError, ValueError):
            raise ValueError("must be a key in JSON, or the path of a file with one") from None
    from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415 - see the docstring

    try:
        key = json.loads(text)
        credentials = _credentials(key, ())
        TypeAdapter(HttpUrl).validate_python(key["token_uri"])
    except (ValueError, TypeError, KeyError, AttributeError, GoogleAuthError):
        # The error's text may quote the key.
        raise ValueError("must contain a service account's key as issued by Google") from None
    if credentials.universe_domain != UNIVERSE_DOMAIN:
        raise ValueError(f"must be a key of {UNIVERSE_DOMAIN}: other clouds have no token endpoint")
    return SecretStr(text)


ServiceAccountKey = Annotated[SecretStr, AfterValidator(_check_key)]
"""The JSON key of a Google service account, given as it is or as the path of a file."""


def service_account(
    key: SecretStr, scopes: Iterable[str], http: HttpClient, fetch_limit: timedelta
) -> TokenSource:
    """Return the source of a service account's tokens.

    Args:
        key: The account's key, a ServiceAccountKey.
        scopes: The scopes to request.
        http: The client that sends the requests for tokens.
        fetch_limit: The maximum time of a request by `http`.
    """
    fields = json.loads(key.get_secret_value())
    scopes = sorted(scopes)
    credentials = _credentials(fields, scopes)

    def fetch() -> Token:
        transport = _Transport(http)
        credentials.refresh(transport)  # type: ignore[no-untyped-call] # Google's
        return transport.token

    name = json.dumps([fields["token_uri"], fields["client_email"], scopes])
    return TokenSource(name, fields["private_key"].encode(), fetch, fetch_limit)


def _credentials(key: Mapping[str, str], scopes: Sequence[str]) -> "Credentials":
    from google.oauth2 import service_account as google  # noqa: PLC0415 - see the docstring

    make: Any = google.Credentials.from_service_account_info  # has no types
    return cast("Credentials", make(key, scopes=scopes))


@dataclass(frozen=True, slots=True)
class _GoogleResponse:
    """A response in the form that google-auth reads."""

    status: int
    headers: Mapping[str, str]
    data: bytes


class _Transport:
    """Sends google-auth's request within the limits of the client, and stores the token.

    An error is raised here, because google-auth would sleep and repeat the request. Of a success
    google-auth gets only the fields that were validated: it fails on some other values.
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
        **_: Any,
    ) -> _GoogleResponse:
        response = self._http.request(method, url, headers=headers, body=body)
        self.token = read_token(response)
        fields = {
            "access_token": self.token.value,
            "expires_in": int(self.token.lifetime.total_seconds()),
        }
        return _GoogleResponse(response.status, {}, json.dumps(fields).encode())
