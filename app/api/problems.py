"""Error responses: problem details (RFC 9457) that name each invalid field."""

from collections.abc import Mapping
from http import HTTPStatus

import structlog
from flask import Flask, Response
from gunicorn.http.errors import ParseException  # type: ignore[import-untyped]
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException

from app import db
from app.errors import ConflictError, FieldError, InvalidError, NotFoundError

CONTENT_TYPE = "application/problem+json"
DETAILS = {
    HTTPStatus.NOT_FOUND: "There is no such page.",
    HTTPStatus.METHOD_NOT_ALLOWED: "Method not allowed. See the header Allow.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The request body is too large.",
}
log = structlog.stdlib.get_logger(__name__)


class Rejection(BaseModel):
    """A message of a list that was rejected."""

    index: int = Field(description="Position in the list, from 0.")
    errors: list[FieldError]


class Problem(BaseModel):
    """An error response."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Unprocessable Entity",
                    "status": 422,
                    "detail": "Invalid: channel.",
                    "request_id": "9f86d081884c7d65",
                    "errors": [{"field": "channel", "reason": "required"}],
                    "rejected": [],
                }
            ]
        }
    )

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    request_id: str = Field(description="Also in the header `X-Request-ID` and in the log.")
    errors: list[FieldError] = Field(
        default=[],
        description="The invalid fields.",
    )
    rejected: list[Rejection] = Field(
        default=[], description="The errors of each message, if a whole list was rejected."
    )


class ProblemError(Exception):
    """Ends the request with this error response."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        errors: list[FieldError] | None = None,
        rejected: list[Rejection] | None = None,
        headers: Mapping[str, str | tuple[str, ...]] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors or []
        self.rejected = rejected or []
        self.headers = headers or {}


def init_app(app: Flask) -> None:
    """Render every error of `app` as problem details."""
    app.register_error_handler(ProblemError, _respond)
    app.register_error_handler(InvalidError, _invalid)
    app.register_error_handler(NotFoundError, _not_found)
    app.register_error_handler(ConflictError, _conflict)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(ParseException, _malformed_request)
    app.register_error_handler(SQLAlchemyError, _database_error)
    app.register_error_handler(Exception, _defect)


def _respond(problem: ProblemError) -> Response:
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


def _invalid(error: InvalidError) -> Response:
    fields = ", ".join(one.field or "the body" for one in error.errors)
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    return _respond(ProblemError(status, f"Invalid: {fields}.", errors=error.errors))


def _not_found(error: NotFoundError) -> Response:
    return _respond(ProblemError(HTTPStatus.NOT_FOUND, str(error)))


def _conflict(error: ConflictError) -> Response:
    return _respond(ProblemError(HTTPStatus.CONFLICT, str(error)))


def _http_error(error: HTTPException) -> Response:
    status = HTTPStatus(error.code or 500)
    headers = {name: value for name, value in error.get_headers() if name.lower() != "content-type"}
    return _respond(ProblemError(status, DETAILS.get(status, status.phrase), headers=headers))


def _malformed_request(error: ParseException) -> Response:
    # gunicorn parses chunks only while the body is read.
    return _respond(ProblemError(HTTPStatus.BAD_REQUEST, f"The request is not valid HTTP: {error}"))


def _database_error(error: SQLAlchemyError) -> Response:
    is_read_only = db.is_read_only(error)
    if not is_read_only and not db.is_unavailable(error):
        return _defect(error)
    log.error("database unavailable", error=type(error.__cause__ or error).__name__)
    return _respond(
        ProblemError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"The database is {'read-only' if is_read_only else 'unavailable'}. Try again.",
            headers={"Retry-After": "5"},
        )
    )


def _defect(error: Exception) -> Response:
    log.error("request failed", exc_info=error)
    return _respond(
        ProblemError(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            "Internal error. The log has the details under this request_id.",
        )
    )
