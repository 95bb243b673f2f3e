"""A plain SMS gateway.

`POST /gateway` with `{"to": …, "content": …}` gets 202 and
`{"message": "Accepted", "messageId": "<uuid>"}`.

The wire format is that of the public projects Auto Message Dispatcher (API key in the header
`x-ins-auth-key`) and outbox-relayer (API key in the header `api-key`).
"""

import hmac
import json
from uuid import uuid4

from sandbox.provider import Delivery, Provider, RefusedError, Request, json_response
from sandbox.received import truncate


def gateway(key: str | None) -> Provider:
    """Return the gateway; with a `key`, requests without that API key get 401."""

    def read(request: Request) -> Delivery:
        if request.method != "POST":
            raise RefusedError(405, "method not allowed. Use POST.", {"Allow": "POST"})
        if key is not None and not _has_key(request, key):
            raise RefusedError(401, "x-ins-auth-key or api-key: missing or wrong")
        to, content = _fields(request)
        message_id = str(uuid4())
        return Delivery(
            to=to,
            key=request.headers.get("idempotency-key"),
            details={
                "to": to,
                "content": truncate(content),
                "message_id": message_id,
                "headers": request.recorded_headers(),
            },
            response=json_response(202, {"message": "Accepted", "messageId": message_id}),
        )

    return Provider("gateway", "/gateway", read)


def _has_key(request: Request, key: str) -> bool:
    given = request.headers.get("x-ins-auth-key") or request.headers.get("api-key") or ""
    return hmac.compare_digest(given.encode(), key.encode())


def _fields(request: Request) -> tuple[str, str]:
    if request.media_type() != "application/json":
        raise RefusedError(415, "content-type: expected application/json")
    try:
        payload = json.loads(request.body)
    except (ValueError, RecursionError):
        raise RefusedError(400, "body: not valid JSON") from None
    if not isinstance(payload, dict):
        raise RefusedError(400, "body: expected a JSON object")
    return _text(payload, "to"), _text(payload, "content")


def _text(payload: dict[str, object], name: str) -> str:
    value = payload.get(name)
    if not isinstance(value, str) or not value:
        raise RefusedError(400, f"{name}: expected a non-empty string")
    return value
