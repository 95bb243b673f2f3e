"""A plain webhook gateway: `POST /gateway` with `{"to": …, "content": …}` is answered with 202
`{"message": "Accepted", "messageId": "<uuid>"}`.

Wire format as in the public projects Auto Message Dispatcher (key in `x-ins-auth-key`) and
outbox-relayer (key in `api-key`).
"""

import hmac
import json
from uuid import uuid4

from sandbox.provider import Delivery, Provider, RefusedError, Request, json_answer
from sandbox.received import cut


def gateway(key: str | None) -> Provider:
    """The gateway; with a `key` it answers 401 to whoever doesn't bring it."""

    def read(request: Request) -> Delivery:
        if request.method != "POST":
            raise RefusedError(405, "POST only", {"Allow": "POST"})
        if key is not None and not _brings(request, key):
            raise RefusedError(401, "wrong or missing key")
        to, content = _fields(request)
        message_id = str(uuid4())
        return Delivery(
            to=to,
            key=request.headers.get("idempotency-key"),
            details={
                "to": to,
                "content": cut(content),
                "message_id": message_id,
                "headers": request.shown_headers(),
            },
            answer=json_answer(202, {"message": "Accepted", "messageId": message_id}),
        )

    return Provider("gateway", "/gateway", read)


def _brings(request: Request, key: str) -> bool:
    given = request.headers.get("x-ins-auth-key") or request.headers.get("api-key") or ""
    return hmac.compare_digest(given.encode(), key.encode())


def _fields(request: Request) -> tuple[str, str]:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise RefusedError(415, "expected application/json")
    try:
        payload = json.loads(request.body)
    except (ValueError, RecursionError):
        raise RefusedError(400, "the body is no JSON") from None
    if not isinstance(payload, dict):
        raise RefusedError(400, "expected a JSON object")
    return _text(payload, "to"), _text(payload, "content")


def _text(payload: dict[str, object], name: str) -> str:
    value = payload.get(name)
    if not isinstance(value, str) or not value:
        raise RefusedError(400, f"{name}: expected a string that is not empty")
    return value
