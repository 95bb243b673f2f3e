"""The one shape of every error: problem details (RFC 9457), naming each field that is wrong."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from flask import Flask, Response
from pydantic import BaseModel, Field, ValidationError
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from werkzeug.exceptions import HTTPException

MAX_NAME = 100
CONTENT_TYPE = "application/problem+json"
DETAILS = {
    HTTPStatus.NOT_FOUND: "there is nothing at this address",
    HTTPStatus.METHOD_NOT_ALLOWED: "this address does not take that method; see Allow",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "the body is larger than this server takes",
}
log = structlog.stdlib.get_logger(__name__)


class FieldError(BaseModel):
    """What is wrong with one field of the request."""

    field: str = Field(description="its path, such as `to` or `attachments[0].content`")
    reason: str


class Rejection(BaseModel):
    """A message of a list that was not accepted."""

    index: int = Field(description="its place in the list, from 0")
    errors: list[FieldError]


class Problem(BaseModel):
    """An error."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    request_id: str = Field(description="also in the header X-Request-ID and in the log")
    errors: list[FieldError] = []
    rejected: list[Rejection] = Field(
        default=[], description="where a list of messages held not one that could be accepted"
    )


class ProblemError(Exception):
    """Ends the request with this answer."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        errors: list[FieldError] | None = None,
        rejected: list[Rejection] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors or []
        self.rejected = rejected or []
        self.headers = headers or {}


def invalid(errors: list[FieldError]) -> ProblemError:
    """The answer to a request that is well-formed, but whose fields are not all right."""
    fields = ", ".join(error.field or "the body" for error in errors)
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, f"not accepted: {fields}", errors=errors)


def field_errors(error: ValidationError) -> list[FieldError]:
    """What pydantic found, without the values that it found it in."""
    return [
        FieldError(field=_path(fault["loc"]), reason=_reason(fault))
        for fault in error.errors(include_input=False, include_url=False)
    ]


def _path(location: tuple[int | str, ...]) -> str:
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part != "[key]" and not part.startswith("<"):  # the tag of a union's member
            name = part[:MAX_NAME].encode(errors="replace").decode()
            path += f".{name}" if path else name
    return path


def _reason(fault: Any) -> str:
    if fault["type"] == "extra_forbidden":
        return "there is no such field"
    if fault["type"] in {"model_type", "dict_type"}:
        return "must be an object"
    reason: str = fault["msg"].removeprefix("Value error, ")
    return reason[:1].lower() + reason[1:]


def init_app(app: Flask) -> None:
    """Answer every error in this shape."""

    def answer(problem: ProblemError) -> Response:
        body = Problem(
            title=problem.status.phrase,
            status=problem.status,
            detail=problem.detail,
            request_id=structlog.contextvars.get_contextvars().get("request_id", ""),
            errors=problem.errors,
            rejected=problem.rejected,
        )
        headers = dict(problem.headers)
        return Response(body.model_dump_json(), problem.status, headers, content_type=CONTENT_TYPE)

    def of_werkzeug(error: HTTPException) -> Response:
        status = HTTPStatus(error.code or 500)
        headers = {
            name: value for name, value in error.get_headers() if name.lower() != "content-type"
        }
        return answer(ProblemError(status, DETAILS.get(status, status.phrase), headers=headers))

    def of_database(error: Exception) -> Response:
        log.error("database out of reach", error=type(error.__cause__ or error).__name__)
        return answer(
            ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "the database does not answer; try again",
                headers={"Retry-After": "5"},
            )
        )

    def of_defect(error: Exception) -> Response:
        log.error("request failed", exc_info=error)
        return answer(
            ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, "an error of ours; it is in the log")
        )

    app.register_error_handler(ProblemError, answer)
    app.register_error_handler(HTTPException, of_werkzeug)
    for unreachable in (OperationalError, InterfaceError, PoolTimeoutError):
        app.register_error_handler(unreachable, of_database)
    app.register_error_handler(Exception, of_defect)
