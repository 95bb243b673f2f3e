"""The OpenAPI 3.1 description of the API, made of its operations."""

import inspect
import re
from collections.abc import Iterable
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from pydantic import TypeAdapter

from app.api import problems
from app.api.operations import Operation, Section, View

JSON = "application/json"
REF = "#/components/schemas/{model}"
SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "token": {"type": "apiKey", "in": "header", "name": "X-API-Token"},
    "basic": {"type": "http", "scheme": "basic", "description": "name and token"},
}
PATH_VARIABLES = {
    "id": {"type": "integer", "minimum": 1, "maximum": 10**18 - 1},
    "default": {"type": "string", "minLength": 1},
}
CAUSES = {
    HTTPStatus.BAD_REQUEST: "The body is not JSON.",
    HTTPStatus.UNAUTHORIZED: "No token, or one that is unknown, expired or revoked.",
    HTTPStatus.FORBIDDEN: "The token lacks the scope.",
    HTTPStatus.NOT_FOUND: "There is no such thing.",
    HTTPStatus.CONFLICT: "Not in its present state.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body is not application/json.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "Fields are wrong; each is named.",
    HTTPStatus.TOO_MANY_REQUESTS: "Too fast; Retry-After says when to go on.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "An error of ours.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The database does not answer; try again.",
}


def describe(sections: Iterable[Section]) -> dict[str, Any]:
    """The description of all `sections`."""
    served = [(section.name, *one) for section in sections for one in section.operations]
    types = _Types([operation for _, operation, _ in served])
    paths: dict[str, dict[str, Any]] = {}
    for tag, operation, view in served:
        entry = _operation(tag, operation, view, types)
        paths.setdefault(_path(operation.path), {})[operation.method.lower()] = entry
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Postroom",
            "version": version("postroom"),
            "description": "Accepts messages, keeps them, has them sent, and tells what became"
            " of them.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": types.definitions, "securitySchemes": SECURITY},
    }


class _Types:
    """The JSON schemas of all types that operations name."""

    def __init__(self, operations: list[Operation]) -> None:
        self._keys: dict[tuple[str, str], Any] = {}
        inputs: list[tuple[str, Any, TypeAdapter[Any]]] = [
            (repr(problems.Problem), "serialization", TypeAdapter(problems.Problem))
        ]
        for operation in operations:
            for mode, named in (
                ("validation", [operation.query, operation.body]),
                ("serialization", [*operation.responses.values()]),
            ):
                inputs += [
                    (repr(one), mode, TypeAdapter(one))
                    for one in named
                    if one is not None and not isinstance(one, str)
                ]
        schemas, described = TypeAdapter.json_schemas(inputs, ref_template=REF)
        self._schemas: dict[tuple[str, Any], Any] = {**schemas}
        self.definitions: dict[str, Any] = described.get("$defs", {})

    def schema(self, named: Any, mode: str) -> dict[str, Any]:
        """The schema of a type, as a reference where it has a name."""
        found: dict[str, Any] = self._schemas[repr(named), mode]
        return found

    def properties(self, named: Any) -> dict[str, Any]:
        """The schemas of the fields of a model."""
        name = self.schema(named, "validation")["$ref"].rpartition("/")[2]
        found: dict[str, Any] = self.definitions[name]["properties"]
        return found


def _operation(tag: str, operation: Operation, view: View, types: _Types) -> dict[str, Any]:
    summary, _, description = inspect.cleandoc(view.__doc__ or "").partition("\n")
    entry: dict[str, Any] = {
        "operationId": view.__name__,
        "tags": [tag],
        "summary": summary.rstrip("."),
        "parameters": [*_path_parameters(operation), *_query_parameters(operation, types)],
        "responses": _responses(operation, types),
        "security": [],
    }
    entry["parameters"] += [
        {"name": name, "in": "header", "schema": schema}
        for name, schema in operation.headers.items()
    ]
    if not operation.public:
        entry["security"] = [{name: []} for name in SECURITY]
        needs = f"Needs a token with the scope `{operation.scope}`."
        description += f"\n\n{needs if operation.scope else 'Needs any token.'}"
    if operation.body is not None:
        entry["requestBody"] = {
            "required": operation.body_required,
            "content": {JSON: {"schema": types.schema(operation.body, "validation")}},
        }
    if description.strip():
        entry["description"] = description.strip()
    return entry


def _responses(operation: Operation, types: _Types) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status, answer in operation.responses.items():
        content = (
            {answer: {"schema": {"type": "string"}}}
            if isinstance(answer, str)
            else {JSON: {"schema": types.schema(answer, "serialization")}}
        )
        found[str(status.value)] = {"description": status.phrase, "content": content}
    problem = {problems.CONTENT_TYPE: {"schema": types.schema(problems.Problem, "serialization")}}
    for status in operation.all_problems():
        found[str(status.value)] = {"description": CAUSES[status], "content": problem}
    return found


def _path(rule: str) -> str:
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule)


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": PATH_VARIABLES[kind or "default"]}
        for kind, name in re.findall(r"<(?:(\w+):)?(\w+)>", operation.path)
    ]


def _query_parameters(operation: Operation, types: _Types) -> list[dict[str, Any]]:
    if operation.query is None:
        return []
    return [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in types.properties(operation.query).items()
    ]
