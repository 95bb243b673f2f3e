"""Routes that cannot be served without being described: each is registered once, with the types
of what goes in and out, and from those come both its checks and its OpenAPI entry."""

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import wraps
from http import HTTPStatus
from typing import Any, get_origin

from flask import Blueprint, Response, request
from pydantic import BaseModel, TypeAdapter, ValidationError
from werkzeug.datastructures import MultiDict

from app.api import security
from app.api.bodies import read_json
from app.api.problems import FieldError, field_errors, invalid
from app.auth.tokens import Scope


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path, a Flask rule.

    `scope` is what its token must allow, None where any token will do; with `public` it needs
    none. A `body` that is not `checked` here reaches the view as the JSON value it is. `answers`
    maps each status of success to the type of its body, or to a media type where that is no
    JSON; `problems` are the errors beside those that the other properties imply. `headers` are
    the request headers that it reads, by their JSON schemas.
    """

    method: str
    path: str
    answers: Mapping[HTTPStatus, Any]
    _: KW_ONLY
    scope: Scope | None = None
    public: bool = False
    query: type[BaseModel] | None = None
    body: Any = None
    body_required: bool = True
    checked: bool = True
    headers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    problems: frozenset[HTTPStatus] = frozenset()

    def all_problems(self) -> list[HTTPStatus]:
        """Every error that it may answer."""
        found = {HTTPStatus.INTERNAL_SERVER_ERROR, *self.problems}
        if not self.public:
            found |= {HTTPStatus.UNAUTHORIZED, HTTPStatus.SERVICE_UNAVAILABLE}
        if self.scope is not None:
            found.add(HTTPStatus.FORBIDDEN)
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
    """What a view answers where that is more than a body with status 200."""

    body: BaseModel
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)


View = Callable[..., Response | Answer | BaseModel]


class Section(Blueprint):
    """A blueprint whose routes are all operations, kept with the views that serve them."""

    def __init__(self, name: str) -> None:
        super().__init__(name, __name__)
        self.operations: list[tuple[Operation, View]] = []

    def serve(self, operation: Operation) -> Callable[[View], View]:
        """Serve `operation` with the function below.

        It is given the variables of the path, and `query` and `body` where the operation has
        them. Its name and its docstring describe the operation.
        """

        def register(view: View) -> View:
            body = TypeAdapter(operation.body) if operation.body and operation.checked else None

            @wraps(view)
            def served(**given: Any) -> Response:
                if not operation.public:
                    security.authorise(operation.scope)
                if operation.query is not None:
                    given["query"] = _query(operation.query)
                if operation.body is not None:
                    given["body"] = _body(operation, body)
                return respond(view(**given))

            self.operations.append((operation, view))
            self.add_url_rule(operation.path, view.__name__, served, methods=[operation.method])
            return view

        return register


def _query(model: type[BaseModel]) -> BaseModel:
    given: MultiDict[str, str] = request.args
    lists = {
        name
        for name, described in model.model_fields.items()
        if get_origin(described.annotation) is list
    }
    if repeated := [name for name in given if name not in lists and len(given.getlist(name)) > 1]:
        raise invalid([FieldError(field=name, reason="give it once") for name in repeated])
    try:
        return model.model_validate(
            {name: given.getlist(name) if name in lists else given[name] for name in given}
        )
    except ValidationError as error:
        raise invalid(field_errors(error)) from None


def _body(operation: Operation, adapter: TypeAdapter[Any] | None) -> Any:
    value = read_json()
    if value is None and not operation.body_required:
        return None
    if adapter is None:
        return value
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise invalid(field_errors(error)) from None


def respond(answer: Response | Answer | BaseModel) -> Response:
    """The response that carries what a view answered."""
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
