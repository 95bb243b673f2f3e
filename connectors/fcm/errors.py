"""The error table of FCM, and how an error response is classified.

Sources: https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode for FCM's codes,
https://cloud.google.com/apis/design/errors for the general codes of Google's APIs.
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta

from pydantic import BaseModel, Field, ValidationError

from connectors.base import ErrorCode, Misconfigured, Rejected, SendError, Unavailable
from connectors.toolkit.http import Response, excerpt, response_error
from connectors.toolkit.tokens import is_unauthorized

INVALID_TOKEN = "INVALID_REGISTRATION_TOKEN"  # noqa: S105 - an error code
QUOTA_WAIT = timedelta(minutes=1)
OVERLOAD_WAIT = timedelta(seconds=1)

ERRORS = (
    # FCM's own codes.
    ErrorCode(
        "UNREGISTERED", Rejected, "the app is no longer installed on the device", suppress=True
    ),
    ErrorCode("INVALID_ARGUMENT", Rejected, "the message is malformed"),
    ErrorCode(
        INVALID_TOKEN,
        Rejected,
        "INVALID_ARGUMENT, caused by the registration token itself",
        suppress=True,
    ),
    ErrorCode("SENDER_ID_MISMATCH", Rejected, "the registration token belongs to another project"),
    ErrorCode("THIRD_PARTY_AUTH_ERROR", Misconfigured, "the key for APNs or web push is invalid"),
    ErrorCode("APNS_AUTH_ERROR", Misconfigured, "the former name of THIRD_PARTY_AUTH_ERROR"),
    ErrorCode(
        "QUOTA_EXCEEDED",
        Unavailable,
        "too many messages to the project, topic or device",
        QUOTA_WAIT,
    ),
    ErrorCode("UNAVAILABLE", Unavailable, "the service is overloaded", OVERLOAD_WAIT),
    ErrorCode("INTERNAL", Unavailable, "an internal error of the service"),
    ErrorCode("UNSPECIFIED_ERROR", Unavailable, "the service gave no reason"),
    # General codes of Google's APIs, for errors without a code of FCM.
    ErrorCode("UNAUTHENTICATED", Misconfigured, "a newly fetched access token was rejected too"),
    ErrorCode(
        "PERMISSION_DENIED",
        Misconfigured,
        "the service account may not send messages in this project",
    ),
    ErrorCode("NOT_FOUND", Rejected, "the project or the target does not exist"),
    ErrorCode("CONFLICT", Rejected, "the request conflicts with another one"),
    ErrorCode("FAILED_PRECONDITION", Rejected, "the project's state does not allow the request"),
    ErrorCode("RESOURCE_EXHAUSTED", Unavailable, "a quota of the project is used up", QUOTA_WAIT),
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

# FCM reports these with status 401 too, but a new access token does not help.
THIRD_PARTY_ERRORS = frozenset({"THIRD_PARTY_AUTH_ERROR", "APNS_AUTH_ERROR"})


class _Violation(BaseModel):
    field: str = ""
    description: str = ""


class _Detail(BaseModel):
    code: str = Field("", alias="errorCode")
    violations: tuple[_Violation, ...] = Field((), alias="fieldViolations")


class _Status(BaseModel):
    """The error object in a response (google.rpc.Status)."""

    message: str = ""
    status: str = ""
    details: tuple[_Detail, ...] = ()

    @property
    def codes(self) -> list[str]:
        """FCM's own codes, then the general code."""
        return [*(detail.code for detail in self.details), self.status]

    @property
    def violations(self) -> list[_Violation]:
        return [violation for detail in self.details for violation in detail.violations]

    @property
    def text(self) -> str:
        return "; ".join([self.message, *(f"{v.field}: {v.description}" for v in self.violations)])

    @property
    def concerns_only_the_token(self) -> bool:
        fields = {violation.field for violation in self.violations}
        return "registration token" in self.message.casefold() and fields <= {"message.token"}


class _Body(BaseModel):
    error: _Status


def _parse(response: Response) -> _Status:
    """Return the error object of a response, or an empty one if it cannot be parsed."""
    try:
        return _Body.model_validate_json(response.body).error
    except ValidationError:
        return _Status()


def is_token_rejected(response: Response) -> bool:
    """Return whether FCM rejected the access token, so that a new one may help."""
    return is_unauthorized(response) and THIRD_PARTY_ERRORS.isdisjoint(_parse(response).codes)


def classify(response: Response, hide: Iterable[str]) -> SendError:
    """Return the exception for an error response.

    FCM's own code decides, then the general code of Google's APIs, then the HTTP status.

    Args:
        response: A response whose status is not 2xx.
        hide: Values to replace by `***` in the exception's detail.
    """
    status = _parse(response)
    codes = [*status.codes, CODE_OF_STATUS.get(response.status, "")]
    code = next((code for code in codes if code in BY_CODE), None)
    if code is None:
        return response_error(response, hide, status.text or None)
    if code == "INVALID_ARGUMENT" and status.concerns_only_the_token:
        code = INVALID_TOKEN
    detail = excerpt(status.text or response.text, hide)
    return BY_CODE[code].error(detail, response.retry_after)
