"""Any HTTP API: `/api/<anything>`, by any method, is answered with 200 and a JSON echo. What
follows `/api/` is the recipient.

A request that is signed by Standard Webhooks (https://www.standardwebhooks.com) is checked: its
signature must be of `SIGNING_SECRET`, and no more than five minutes old.

`POST /api/_webhook` has the client called back: JSON with `url`, the webhook to call, `body`, the
JSON to call it with, and perhaps `id`. The call is signed with `SIGNING_SECRET` too.

`/oauth-api/<anything>` does the same for whoever brings a token: `POST /oauth-api/token` gives
them out to `CLIENT_ID` with `CLIENT_SECRET` (RFC 6749, 4.4), for an hour. `DELETE
/oauth-api/token` takes back all of them.
"""

import base64
import hashlib
import hmac
import json
import secrets
import time
from urllib.parse import parse_qs, unquote, unquote_plus
from uuid import uuid4

from sandbox.callbacks import CallbackRequest, call_back
from sandbox.provider import (
    AnsweredError,
    Delivery,
    Provider,
    RefusedError,
    Request,
    json_answer,
)
from sandbox.received import cut

# Published, and worth nothing: the sandbox passes nothing on.
SIGNING_SECRET = "whsec_c2FuZGJveC1zYW5kYm94LXNhbmRib3gtc2FuZGJveA=="  # noqa: S105
CLIENT_ID = "sandbox:client"
CLIENT_SECRET = "sand/b+x secret%"  # noqa: S105

TOKEN_SECONDS = 3600


def oauth_api() -> Provider:
    """The API that asks for tokens."""
    valid_until: dict[str, float] = {}

    def read(request: Request) -> Delivery:
        path = request.path.removeprefix("/oauth-api")
        if path == "/token" and request.method == "POST":
            _check_client(request)
            token = secrets.token_urlsafe()
            valid_until[token] = time.monotonic() + TOKEN_SECONDS
            fields = {"access_token": token, "token_type": "Bearer", "expires_in": TOKEN_SECONDS}
            raise AnsweredError(json_answer(200, fields, {"Cache-Control": "no-store"}))
        if path == "/token" and request.method == "DELETE":
            valid_until.clear()
            raise AnsweredError(json_answer(200, {}))
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or valid_until.get(token, 0) <= time.monotonic():
            challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
            raise RefusedError(401, "invalid_token", challenge)
        return _delivery(request, path)

    return Provider("oauth-api", "/oauth-api", read)


def _delivery(request: Request, path: str) -> Delivery:
    signed = "webhook-signature" in request.headers
    if signed:
        _check_signature(request)
    to = unquote(path.removeprefix("/"))
    echo = {"id": str(uuid4()), "method": request.method, "path": request.path}
    return Delivery(
        to=to,
        key=request.headers.get("idempotency-key"),
        details={
            **echo,
            "query": cut(request.query),
            "to": to,
            "content": cut(request.body.decode(errors="replace")),
            "headers": request.shown_headers(),
            "signed": signed,
        },
        answer=json_answer(200, echo),
    )


def _check_signature(request: Request) -> None:
    webhook_id = request.headers.get("webhook-id", "")
    timestamp = request.headers.get("webhook-timestamp", "")
    if not webhook_id or "." in webhook_id or not timestamp.isdecimal():
        raise RefusedError(401, "webhook-id or webhook-timestamp is missing or malformed")
    if abs(time.time() - int(timestamp)) > 300:
        raise RefusedError(401, "webhook-timestamp is too old or too new")
    expected = _signature(webhook_id, timestamp, request.body).encode()
    given = request.headers["webhook-signature"].encode().split(b" ")
    if not any(hmac.compare_digest(expected, signature) for signature in given):
        raise RefusedError(401, "webhook-signature does not fit")


def _check_client(request: Request) -> None:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    form = parse_qs(request.body.decode(errors="replace"))
    if media_type != "application/x-www-form-urlencoded" or "grant_type" not in form:
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
    """The client's id and secret, which are form-encoded before they are joined (2.3.1)."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        pair = base64.b64decode(encoded, validate=True).decode()
    except ValueError:
        raise RefusedError(401, "invalid_client") from None
    client_id, _, secret = pair.partition(":")
    return unquote_plus(client_id), unquote_plus(secret)


def _read(request: Request) -> Delivery:
    if request.path == "/api/_webhook":
        raise AnsweredError(json_answer(202, {"id": _call_back(request)}))
    return _delivery(request, request.path.removeprefix("/api"))


def _call_back(request: Request) -> str:
    try:
        asked = json.loads(request.body)
        url, body = str(asked["url"]), json.dumps(asked["body"]).encode()
        webhook_id = str(asked.get("id") or uuid4())
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        raise RefusedError(400, "expected a JSON object with url and body") from None
    timestamp = str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": _signature(webhook_id, timestamp, body),
    }
    call_back(CallbackRequest(url, body, headers))
    return webhook_id


def _signature(webhook_id: str, timestamp: str, body: bytes) -> str:
    key = base64.b64decode(SIGNING_SECRET.removeprefix("whsec_"))
    digest = hmac.new(key, digestmod=hashlib.sha256)
    digest.update(f"{webhook_id}.{timestamp}.".encode())
    digest.update(body)
    return "v1," + base64.b64encode(digest.digest()).decode()


API = Provider("api", "/api", _read)
