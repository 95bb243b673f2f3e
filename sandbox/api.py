"""Any HTTP API: every request to `/api/<recipient>` gets 200 and a JSON echo.

A request signed by Standard Webhooks (https://www.standardwebhooks.com) is verified: the signature
must be made with `SIGNING_SECRET` and be at most five minutes old.

`POST /api/_webhook` makes the sandbox call a webhook. Send JSON with `url`, `body` (the JSON to
post) and optionally `id`. The call is signed with `SIGNING_SECRET` too.
"""

import base64
import hashlib
import hmac
import json
import time
from urllib.parse import unquote
from uuid import uuid4

from sandbox.callbacks import CallbackRequest, send_callbacks
from sandbox.provider import (
    Delivery,
    Provider,
    RefusedError,
    Request,
    Response,
    json_response,
)
from sandbox.received import truncate

# Public on purpose: it protects nothing.
SIGNING_SECRET = "whsec_c2FuZGJveC1zYW5kYm94LXNhbmRib3gtc2FuZGJveA=="  # noqa: S105

MAX_AGE_SECONDS = 300


def _read(request: Request) -> Delivery | Response:
    if request.path == "/api/_webhook":
        return json_response(202, {"id": _call_webhook(request)})
    return read_delivery(request, request.path.removeprefix("/api"))


def read_delivery(request: Request, path: str) -> Delivery:
    """Read any request as a message to the recipient that `path` names.

    Raises:
        RefusedError: The request is signed, but the signature is not valid.
    """
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
            "query": truncate(request.query),
            "to": to,
            "content": truncate(request.body.decode(errors="replace")),
            "headers": request.recorded_headers(),
            "signed": signed,
        },
        response=json_response(200, echo),
    )


def _check_signature(request: Request) -> None:
    webhook_id = request.headers.get("webhook-id", "")
    timestamp = request.headers.get("webhook-timestamp", "")
    if not webhook_id or "." in webhook_id or not timestamp.isdecimal():
        raise RefusedError(401, "webhook-id or webhook-timestamp: missing or malformed")
    if abs(time.time() - int(timestamp)) > MAX_AGE_SECONDS:
        raise RefusedError(401, "webhook-timestamp: more than five minutes from now")
    expected = _signature(webhook_id, timestamp, request.body).encode()
    given = request.headers["webhook-signature"].encode().split(b" ")
    if not any(hmac.compare_digest(expected, signature) for signature in given):
        raise RefusedError(401, "webhook-signature: does not match")


def _call_webhook(request: Request) -> str:
    """Call the webhook that the request asks for and return the id of the call."""
    try:
        order = json.loads(request.body)
        url, body = str(order["url"]), json.dumps(order["body"]).encode()
        webhook_id = str(order.get("id") or uuid4())
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        raise RefusedError(400, "body: expected a JSON object with url and body") from None
    timestamp = str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": _signature(webhook_id, timestamp, body),
    }
    send_callbacks(CallbackRequest(url, body, headers))
    return webhook_id


def _signature(webhook_id: str, timestamp: str, body: bytes) -> str:
    key = base64.b64decode(SIGNING_SECRET.removeprefix("whsec_"))
    digest = hmac.new(key, digestmod=hashlib.sha256)
    digest.update(f"{webhook_id}.{timestamp}.".encode())
    digest.update(body)
    return "v1," + base64.b64encode(digest.digest()).decode()


API = Provider("api", "/api", _read)
