"""The sandbox's HTTP API behind OAuth 2.0 client credentials (RFC 6749, 4.4).

POST   /oauth-api/token        issue a token, valid for one hour, to `CLIENT_ID`
DELETE /oauth-api/token        revoke all tokens
any    /oauth-api/<recipient>  as `/api/<recipient>`, with a token
"""

import base64
import secrets
import time
from urllib.parse import parse_qs, unquote_plus

from sandbox.api import read_delivery
from sandbox.provider import (
    Delivery,
    Provider,
    RefusedError,
    Request,
    Response,
    json_response,
)

CLIENT_ID = "sandbox:client"
CLIENT_SECRET = "sand/b+x secret%"

TOKEN_SECONDS = 3600


def oauth_api() -> Provider:
    """Return the provider `oauth-api`, which has issued no token yet."""
    valid_until: dict[str, float] = {}

    def read(request: Request) -> Delivery | Response:
        path = request.path.removeprefix("/oauth-api")
        if path == "/token" and request.method == "POST":
            _check_client(request)
            token = secrets.token_urlsafe()
            valid_until[token] = time.monotonic() + TOKEN_SECONDS
            fields = {"access_token": token, "token_type": "Bearer", "expires_in": TOKEN_SECONDS}
            return json_response(200, fields, {"Cache-Control": "no-store"})
        if path == "/token" and request.method == "DELETE":
            valid_until.clear()
            return json_response(200, {})
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or valid_until.get(token, 0) <= time.monotonic():
            challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
            raise RefusedError(401, "invalid_token", challenge)
        return read_delivery(request, path)

    return Provider("oauth-api", "/oauth-api", read)


def _check_client(request: Request) -> None:
    form = parse_qs(request.body.decode(errors="replace"))
    if request.media_type() != "application/x-www-form-urlencoded" or "grant_type" not in form:
        raise RefusedError(400, "invalid_request")
    if form["grant_type"] != ["client_credentials"]:
        raise RefusedError(400, "unsupported_grant_type")
    basic = _basic(request.headers.get("authorization", ""))
    in_body = (form.get("client_id", [""])[0], form.get("client_secret", [""])[0])
    if basic and any(in_body):
        raise RefusedError(400, "invalid_request")
    if (basic or in_body) != (CLIENT_ID, CLIENT_SECRET):
        raise RefusedError(401, "invalid_client", {"WWW-Authenticate": 'Basic realm="sandbox"'})


def _basic(authorization: str) -> tuple[str, str] | None:
    """Return the client's id and secret, each form-decoded (RFC 6749, 2.3.1), if given."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        pair = base64.b64decode(encoded, validate=True).decode()
    except ValueError:
        raise RefusedError(401, "invalid_client") from None
    client_id, _, secret = pair.partition(":")
    return unquote_plus(client_id), unquote_plus(secret)
