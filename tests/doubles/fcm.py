"""Firebase Cloud Messaging, HTTP v1, for the project `PROJECT`.

    GET    /fcm/service-account.json    the key file of a service account, new at each start
    POST   /fcm/token                   exchange an assertion signed with that key for a token
    DELETE /fcm/token                   revoke all tokens
    POST   /fcm/v1/projects/<project>/messages:send

A registration token that starts with a name in `MAGIC_TOKENS` and a hyphen gets that error. Errors:
https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode
"""

import re
import secrets
import time
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    StrictBool,
    StrictStr,
    StringConstraints,
    ValidationError,
)

from sandbox.provider import Delivery, Provider, Request, Response, ResponseError, json_response
from tests.doubles.google_accounts import ServiceAccount

PROJECT = "sandbox-project"
SCOPES = frozenset(
    {
        "https://www.googleapis.com/auth/firebase.messaging",
        "https://www.googleapis.com/auth/cloud-platform",
    }
)
LIMIT_BYTES = 4096
TOPIC_LIMIT_BYTES = 2048
RESERVED_KEY = re.compile(r"from|message_type|(google|gcm)\..*")
REGISTRATION_TOKEN = re.compile(r"[A-Za-z0-9_:-]{8,4096}")

FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"

# HTTP status, google.rpc status, FCM error code, message.
MAGIC_TOKENS = {
    "unregistered": (404, "NOT_FOUND", "UNREGISTERED", "Requested entity was not found."),
    "sender-id-mismatch": (403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH", "SenderId mismatch"),
    "third-party-auth-error": (
        401,
        "UNAUTHENTICATED",
        "THIRD_PARTY_AUTH_ERROR",
        "Auth error from APNS or Web Push Service",
    ),
    "quota-exceeded": (429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", "Quota exceeded."),
    "unavailable": (503, "UNAVAILABLE", "UNAVAILABLE", "The service is currently unavailable."),
    "internal": (500, "INTERNAL", "INTERNAL", "Internal error encountered."),
}


class _Fields(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Notification(_Fields):
    title: StrictStr = ""
    body: StrictStr = ""
    image: StrictStr = ""


class _Message(_Fields):
    name: StrictStr = ""
    token: StrictStr | None = None
    topic: Annotated[StrictStr, StringConstraints(pattern=r"^[a-zA-Z0-9_.~%-]+$")] | None = None
    condition: StrictStr | None = None
    fid: StrictStr | None = None
    notification: _Notification = _Notification()
    data: dict[str, StrictStr] = {}
    android: dict[str, Any] = {}
    apns: dict[str, Any] = {}
    webpush: dict[str, Any] = {}
    fcm_options: dict[str, Any] = {}

    def size_bytes(self) -> int:
        """Return the size of the part that is sent to a device, without JSON syntax."""
        notification = self.notification
        texts = [
            notification.title,
            notification.body,
            notification.image,
            *self.data,
            *self.data.values(),
        ]
        return sum(len(text.encode()) for text in texts)


class _Send(_Fields):
    message: _Message
    validate_only: StrictBool = False


def fcm() -> Provider:
    """Return FCM with its token endpoint."""
    account = ServiceAccount(PROJECT, SCOPES)

    def read(request: Request) -> Delivery | Response:
        match request.method, request.path:
            case "GET", "/fcm/service-account.json":
                host = request.headers.get("host", "127.0.0.1")
                key_file = account.key_file(f"http://{host}/fcm/token")
                return json_response(200, key_file)
            case "POST", "/fcm/token":
                return account.grant(request)
            case "DELETE", "/fcm/token":
                account.revoke_tokens()
                return json_response(200, {})
            case "POST", path if path.startswith("/fcm/v1/projects/"):
                if not account.is_authorized(request.headers.get("authorization", "")):
                    raise _error(401, "UNAUTHENTICATED", "Request had invalid credentials.")
                return _delivery(request)
            case _:
                return Response(404, b"<title>Error 404</title>", "text/html")

    return Provider("fcm", "/fcm", read)


def _delivery(request: Request) -> Delivery | Response:
    if request.path != f"/fcm/v1/projects/{PROJECT}/messages:send":
        raise _error(403, "PERMISSION_DENIED", "Permission denied on that project.")
    send = _read(request)
    to = _target(send.message)
    limit = LIMIT_BYTES if send.message.token or send.message.fid else TOPIC_LIMIT_BYTES
    if send.message.size_bytes() > limit:
        raise _error(400, "INVALID_ARGUMENT", "Message is too big", "INVALID_ARGUMENT")
    for name, (status, general, code, text) in MAGIC_TOKENS.items():
        if to.startswith(f"{name}-"):
            raise _error(status, general, text, code)
    number = "fake_message_id" if send.validate_only else _message_number()
    answer = json_response(200, {"name": f"projects/{PROJECT}/messages/{number}"})
    if send.validate_only:
        return answer
    return Delivery(
        to=to,
        key=None,
        details={
            "to": to,
            "message": send.message.model_dump(exclude_unset=True),
            "message_id": number,
            "headers": request.recorded_headers(),
        },
        response=answer,
    )


def _read(request: Request) -> _Send:
    if request.media_type() != "application/json":
        raise _error(400, "INVALID_ARGUMENT", "Invalid content type: expected application/json")
    try:
        send = _Send.model_validate_json(request.body)
    except ValidationError as invalid:
        violations = [
            (".".join(str(part) for part in error["loc"]), error["msg"])
            for error in invalid.errors()
        ]
        raise _invalid("Invalid JSON payload received.", violations) from None
    for key in send.message.data:
        if RESERVED_KEY.fullmatch(key):
            raise _invalid(f"Invalid data payload key: {key}", [("message.data", "reserved")])
    return send


def _target(message: _Message) -> str:
    """Return the recipient as the sandbox records it."""
    token = message.token or message.fid
    targets = [token, message.topic, message.condition]
    if sum(target is not None for target in targets) != 1 or (message.token and message.fid):
        raise _invalid(
            "Exactly one of token, topic or condition is required",
            [("message", "Recipient of the message is not set, or set more than once.")],
        )
    if token is None:
        return f"topic:{message.topic}" if message.topic else f"condition:{message.condition}"
    if not REGISTRATION_TOKEN.fullmatch(token):
        text = "The registration token is not a valid FCM registration token"
        raise _error(400, "INVALID_ARGUMENT", text, "INVALID_ARGUMENT")
    return token


def _message_number() -> str:
    return f"0:{time.time_ns() // 1000}%{secrets.token_hex(8)}"


def _invalid(text: str, violations: Sequence[tuple[str, str]]) -> ResponseError:
    fields = [{"field": name, "description": description} for name, description in violations]
    detail = {"@type": BAD_REQUEST, "fieldViolations": fields}
    return _error(400, "INVALID_ARGUMENT", text, details=[detail])


def _error(
    status: int,
    general: str,
    text: str,
    code: str | None = None,
    details: Sequence[dict[str, Any]] = (),
) -> ResponseError:
    """Return a google.rpc.Status error, with FCM's own error code if there is one."""
    own = [{"@type": FCM_ERROR, "errorCode": code}] if code else []
    error = {"code": status, "message": text, "status": general, "details": [*own, *details]}
    return ResponseError(json_response(status, {"error": error}))
