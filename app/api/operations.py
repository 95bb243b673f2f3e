"""Operations: routes with the types of their input and output.

Each operation is registered once. Its checks and its entry in the OpenAPI description both come
from these types, so that no route is served without being described.
"""

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Any, get_origin

from flask import Blueprint, Response, current_app, request
from pydantic import BaseModel
from werkzeug.datastructures import MultiDict

from app.api import security
from app.api.bodies import read_json
from app.api.throttle import Throttle
from app.auth.tokens import Scope
from app.errors import FieldError, InvalidError
from app.fields import parse


@dataclass(frozen=True, slots=True)
class Operation:
    """A method of a path.

    Args:
        method: The HTTP method.
        path: The path, as a Flask rule.
        responses: The type of the body for each status of success, or its media type if it is
            not JSON.
        scope: The scope that the token needs; None accepts every token.
        public: No token is needed.
        submits: The operation counts against the client's rate limit, and accepts an
            `Idempotency-Key`.
        query: The model of the query string.
        body: The model of the JSON body.
        body_required: False if the body may be left out.
        checked: False passes the body to the view as plain JSON, which then validates it.
        problems: Error statuses besides those that follow from the rest.
    """

    method: str
    path: str
    responses: Mapping[HTTPStatus, Any]
    _: KW_ONLY
    scope: Scope | None = None
    public: bool = False
    submits: bool = False
    query: type[BaseModel] | None = None
    body: Any = None
    body_required: bool = True
    checked: bool = True
    problems: frozenset[HTTPStatus] = frozenset()

    def all_problems(self) -> list[HTTPStatus]:
        """Return every error status that the operation may answer with."""
        found = {HTTPStatus.INTERNAL_SERVER_ERROR, *self.problems}
        if not self.public:
            found |= {HTTPStatus.UNAUTHORIZED, HTTPStatus.SERVICE_UNAVAILABLE}
        if self.scope is not None:
            found.add(HTTPStatus.FORBIDDEN)
        if self.submits:
            found |= {HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS}
        if self.query is not None or self.body is not None:
            found.add(HTTPStatus.UNPROCESSABLE_ENTITY)
        if self.body is not None:
            found |= {
                HTTPStatus.BAD_REQUEST,
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            }
        if "<" in self.path:
            found.add(HTTPStatus.NOT_FOUND)
        return sorted(found)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response with a status or headers of its own."""

    body: BaseModel
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)


View = Callable[..., Response | Answer | BaseModel]


class Section(Blueprint):
    """A blueprint of operations."""

    def __init__(self, name: str) -> None:
        super().__init__(name, __name__)
        self.operations: list[tuple[Operation, View]] = []

    def serve(self, operation: Operation) -> Callable[[View], View]:
        """Register the decorated function as the view of `operation`.

        It is called with the variables of the path, and with `query` and `body` if the operation
        has them. Its name and docstring appear in the OpenAPI description.
        """

        def register(view: View) -> View:
            self.operations.append((operation, view))
            self.add_url_rule(
                operation.path,
                view.__name__,
                partial(_serve, operation, view),
                methods=[operation.method],
            )
            return view

        return register


def _serve(operation: Operation, view: View, **arguments: Any) -> Response:
    if not operation.public:
        security.authorise(operation.scope)
    if operation.submits:
        throttle: Throttle = current_app.extensions["throttle"]
        throttle.count(security.client().name)
    if operation.query is not None:
        arguments["query"] = _query(operation.query)
    if operation.body is not None:
        arguments["body"] = _body(operation)
    return respond(view(**arguments))


def respond(answer: Response | Answer | BaseModel) -> Response:
    """Convert the result of a view to a response."""
    if isinstance(answer, Response):
        return answer
    if isinstance(answer, BaseModel):
        answer = Answer(answer)
    return Response(
        answer.body.model_dump_json(by_alias=True),
        answer.status,
        dict(answer.headers),
        content_type="application/json",
    )


def _query(model: type[BaseModel]) -> BaseModel:
    given: MultiDict[str, str] = request.args
    lists = {
        name
        for name, described in model.model_fields.items()
        if get_origin(described.annotation) is list
    }
    if repeated := [name for name in given if name not in lists and len(given.getlist(name)) > 1]:
        raise InvalidError([FieldError(name, "must not be repeated") for name in repeated])
    return parse(
        model, {name: given.getlist(name) if name in lists else given[name] for name in given}
    )


def _body(operation: Operation) -> Any:
    if not operation.body_required and not request.get_data():
        return None
    value = read_json()
    return parse(operation.body, value) if operation.checked else value
