"""Firebase Cloud Messaging, HTTP v1: push messages to Android, Apple devices and browsers.

The facts are those of Firebase's reference of projects.messages and of ErrorCode.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar
from urllib.parse import quote

from pydantic import BaseModel, Field, StringConstraints, ValidationError, model_validator

from connectors.base import (
    Accepted,
    Channel,
    ErrorCode,
    Misconfigured,
    OutboundMessage,
    Rejected,
    SendError,
    Unavailable,
)
from connectors.toolkit.http import HttpConnector, HttpSettings, HttpUrl, Seconds
from connectors.toolkit.http.replies import Response, excerpt, printable, response_error
from connectors.toolkit.oauth import ServiceAccountKey, service_account
from connectors.toolkit.tokens import is_unauthorized, with_token

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
LIMIT_BYTES = 4096
TOPIC_LIMIT_BYTES = 2048
MAX_MESSAGE_ID = 255
MIN_HIDDEN = 4

TARGETS = frozenset({"token", "topic", "condition", "fid"})
PLATFORMS = ("android", "apns", "webpush")

# What is wrong on the side of Apple or of the browsers; another token of Google's mends nothing.
THIRD_PARTY_ERRORS = frozenset({"THIRD_PARTY_AUTH_ERROR", "APNS_AUTH_ERROR"})
INVALID_TOKEN = "INVALID_REGISTRATION_TOKEN"  # noqa: S105 - a code

A_MINUTE = timedelta(minutes=1)

ERRORS = (
    # Codes of FCM itself.
    ErrorCode("UNREGISTERED", Rejected, "the app is gone from the device", suppress=True),
    ErrorCode("INVALID_ARGUMENT", Rejected, "the message is not well-formed"),
    ErrorCode(
        INVALID_TOKEN, Rejected, "INVALID_ARGUMENT because of the token itself", suppress=True
    ),
    ErrorCode("SENDER_ID_MISMATCH", Rejected, "the token belongs to another project"),
    ErrorCode("THIRD_PARTY_AUTH_ERROR", Misconfigured, "the key for APNs or web push is wrong"),
    ErrorCode("APNS_AUTH_ERROR", Misconfigured, "the older name of THIRD_PARTY_AUTH_ERROR"),
    ErrorCode(
        "QUOTA_EXCEEDED", Unavailable, "too many messages: project, topic or device", A_MINUTE
    ),
    ErrorCode("UNAVAILABLE", Unavailable, "the service is overloaded", timedelta(seconds=1)),
    ErrorCode("INTERNAL", Unavailable, "the service failed"),
    ErrorCode("UNSPECIFIED_ERROR", Unavailable, "the service gives no reason"),
    # Codes of Google's APIs, where FCM names none of its own.
    ErrorCode("UNAUTHENTICATED", Misconfigured, "a new access token is not accepted either"),
    ErrorCode("PERMISSION_DENIED", Misconfigured, "the service account may not send here"),
    ErrorCode("NOT_FOUND", Rejected, "there is no such project or target"),
    ErrorCode("CONFLICT", Rejected, "the request conflicts with another one"),
    ErrorCode("FAILED_PRECONDITION", Rejected, "the project's state does not allow this"),
    ErrorCode("RESOURCE_EXHAUSTED", Unavailable, "over a quota of the project", A_MINUTE),
)
BY_CODE = {error.code: error for error in ERRORS}

CODE_OF_STATUS: Mapping[int, str] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "CONFLICT",
    412: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


class FcmSettings(HttpSettings):
    """One Firebase project and our service account there."""

    service_account: ServiceAccountKey
    """The JSON of the service account's key, or the path of the file that holds it."""
    project_id: Annotated[str, StringConstraints(min_length=1)] | None = None
    """The Firebase project; without it, the one that the key names."""
    base_url: HttpUrl = "https://fcm.googleapis.com"
    """Where the API is."""
    read_timeout_seconds: Seconds = 10
    """The longest silence of FCM or of the token endpoint."""
    total_timeout_seconds: Seconds = 10
    """The longest that one request may take. A message may need four: two for tokens."""

    @model_validator(mode="after")
    def _has_a_project(self) -> "FcmSettings":
        if not self.project:
            raise ValueError("project_id: the key names no project")
        return self

    @property
    def project(self) -> str:
        """The project that messages are sent through."""
        named: object = json.loads(self.service_account.get_secret_value()).get("project_id")
        return self.project_id or (named if isinstance(named, str) else "")


class Fcm(HttpConnector[FcmSettings]):
    """Sends push messages through Firebase Cloud Messaging.

    The recipient is a registration token, `topic:<name>` or `condition:<expression>`.
    """

    Settings = FcmSettings
    channels: ClassVar[frozenset[Channel]] = frozenset({"push"})
    documentation = "https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages"
    errors = ERRORS

    def __init__(self, settings: FcmSettings) -> None:
        super().__init__(settings)
        self._url = (
            f"{settings.base_url.rstrip('/')}/v1/projects/{quote(settings.project)}/messages:send"
        )
        self._tokens = service_account(
            settings.service_account, [SCOPE], self.http, super().deadline
        )

    @property
    def deadline(self) -> timedelta:
        return 2 * (super().deadline + self._tokens.wait_limit)

    def send(self, message: OutboundMessage) -> Accepted:
        request = _request(message)
        content = request["message"]
        _check_size(content)
        hide = [message.recipient, *_texts(request)]

        def post(token: str) -> Response:
            hide.append(token)
            authorization = {"Authorization": f"Bearer {token}"}
            return self.http.request("POST", self._url, headers=authorization, json=request)

        response = with_token(self._tokens, post, _is_stale)
        if 200 <= response.status < 300:
            return Accepted(_name(response), str(response.status))
        error = _error(response, hide)
        reached = message.recipient in (content.get("token"), content.get("fid"))
        if isinstance(error, Rejected) and error.suppress and not reached:
            # The payload names another device than the recipient, who is not to blame.
            raise Rejected(error.code, error.detail)
        raise error


def _request(message: OutboundMessage) -> dict[str, Any]:
    """What to send. A payload is the whole request where it holds `message`, else the Message
    itself; it is sent as it is, with the recipient put in where it names no target."""
    payload = message.payload
    if payload is None:
        return {"message": _target(message.recipient) | _content(message)}
    request = (
        payload if isinstance(payload, dict) and "message" in payload else {"message": payload}
    )
    content = request["message"]
    if not isinstance(content, dict):
        raise Rejected("payload_not_allowed", "a message of FCM is a JSON object")
    if TARGETS.isdisjoint(content):
        return {**request, "message": _target(message.recipient) | content}
    return request


def _target(recipient: str) -> dict[str, Any]:
    kind, colon, name = recipient.partition(":")
    if colon and kind in {"topic", "condition"}:
        return {kind: name}
    return {"token": recipient}


def _content(message: OutboundMessage) -> dict[str, Any]:
    content: dict[str, Any] = {}
    notification = {"title": message.subject, "body": message.body}
    if notification := {name: text for name, text in notification.items() if text}:
        content["notification"] = notification
    if message.metadata:
        # Every value of `data` is a string.
        content["data"] = {
            name: value if isinstance(value, str) else _compact(value)
            for name, value in message.metadata.items()
        }
    return content


def _check_size(content: Mapping[str, Any]) -> None:
    """Raises Rejected where a device would be sent more than FCM carries: what is for all
    devices, and what is for those of one platform."""
    limit = TOPIC_LIMIT_BYTES if {"topic", "condition"} & content.keys() else LIMIT_BYTES
    common = {name: content[name] for name in ("notification", "data") if name in content}
    own = [{name: content[name]} for name in PLATFORMS if name in content] or [{}]
    size = max(len(_compact(common | platform).encode(errors="replace")) for platform in own)
    if size > limit:
        raise Rejected("message_too_large", f"{size} of {limit} bytes")


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _texts(value: Any) -> Iterator[str]:
    """The texts and numbers in a JSON value that are long enough to give something away."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif len(text := str(value)) >= MIN_HIDDEN:
        yield text


class _Violation(BaseModel):
    field: str = ""
    description: str = ""


class _Detail(BaseModel):
    code: str = Field("", alias="errorCode")
    violations: tuple[_Violation, ...] = Field((), alias="fieldViolations")


class _Fault(BaseModel):
    """What the body of an error says (google.rpc.Status)."""

    message: str = ""
    status: str = ""
    details: tuple[_Detail, ...] = ()

    @classmethod
    def of(cls, response: Response) -> "_Fault":
        """The fault of a reply; an empty one where it holds none that is legible."""
        try:
            return _Body.model_validate_json(response.body).error
        except ValidationError:
            return cls()

    @property
    def codes(self) -> list[str]:
        """FCM's own code, then the general one of Google's APIs."""
        return [*(detail.code for detail in self.details), self.status]

    @property
    def violations(self) -> list[_Violation]:
        return [violation for detail in self.details for violation in detail.violations]

    @property
    def text(self) -> str:
        return "; ".join([self.message, *(f"{v.field}: {v.description}" for v in self.violations)])

    @property
    def blames_the_token_alone(self) -> bool:
        fields = {violation.field for violation in self.violations}
        return "registration token" in self.message.casefold() and fields <= {"message.token"}


class _Body(BaseModel):
    error: _Fault


def _is_stale(response: Response) -> bool:
    return is_unauthorized(response) and THIRD_PARTY_ERRORS.isdisjoint(_Fault.of(response).codes)


def _error(response: Response, hide: Iterable[str]) -> SendError:
    fault = _Fault.of(response)
    codes = [*fault.codes, CODE_OF_STATUS.get(response.status, "")]
    code = next((code for code in codes if code in BY_CODE), None)
    if code is None:
        return response_error(response, hide, fault.text or None)
    if code == "INVALID_ARGUMENT" and fault.blames_the_token_alone:
        code = INVALID_TOKEN
    wait = response.retry_after
    return BY_CODE[code].error(excerpt(fault.text or response.text, hide), wait)


def _name(response: Response) -> str | None:
    """The name that FCM gave the message."""
    try:
        name = response.json()["name"]
    except (ValueError, KeyError, TypeError):
        return None
    return printable(name)[:MAX_MESSAGE_ID] or None if isinstance(name, str) else None
