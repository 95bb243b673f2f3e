"""The OpenAPI 3.1 description of the API, generated from its operations."""

import inspect
import re
from collections.abc import Iterable
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from pydantic import TypeAdapter

from app.api import idempotency, problems
from app.api.operations import Operation, Section, View

JSON = "application/json"
REF = "#/components/schemas/{model}"
SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "token": {"type": "apiKey", "in": "header", "name": "X-API-Token"},
    "basic": {
        "type": "http",
        "scheme": "basic",
        "description": "The name of the token and the token itself.",
    },
}
PATH_VARIABLES = {
    "id": {"type": "integer", "minimum": 1, "maximum": 10**18 - 1},
    "default": {"type": "string", "minLength": 1},
}
IDEMPOTENCY_KEY = {
    "name": idempotency.HEADER,
    "in": "header",
    "schema": {
        "type": "string",
        "pattern": idempotency.PATTERN,
        "description": "A unique value. A repeated request with the same key within 24 hours"
        " gets the first response again and sends nothing.",
    },
}
PROBLEMS = {
    HTTPStatus.BAD_REQUEST: "The body is malformed.",
    HTTPStatus.UNAUTHORIZED: "The credentials are missing or invalid.",
    HTTPStatus.FORBIDDEN: "The token does not have the required scope.",
    HTTPStatus.NOT_FOUND: "Not found.",
    HTTPStatus.CONFLICT: "Not possible in the current state.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The content type is not application/json.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "Some fields are invalid; `errors` names each.",
    HTTPStatus.TOO_MANY_REQUESTS: "Rate limit exceeded. Try again after Retry-After seconds.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "Internal error.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The database is unavailable. Try again.",
}


def describe(sections: Iterable[Section]) -> dict[str, Any]:
    """Return the OpenAPI document for `sections`."""
    served = [
        (section.name.replace("_", " "), *one) for section in sections for one in section.operations
    ]
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
            "description": "Accepts messages, stores them, sends each one through the provider"
            " that fits, and reports what happened to it.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": types.definitions, "securitySchemes": SECURITY},
    }


class _Types:
    """The JSON schemas of the types of operations."""

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
        for definition in self.definitions.values():
            if "description" in definition:
                definition["description"] = _unwrap(definition["description"])

    def schema(self, named: Any, mode: str) -> dict[str, Any]:
        """Return the schema of a type: a reference if the type has a name."""
        found: dict[str, Any] = self._schemas[repr(named), mode]
        return found

    def properties(self, named: Any) -> dict[str, Any]:
        """Return the schemas of the fields of a model."""
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
    if operation.submits:
        entry["parameters"].append(IDEMPOTENCY_KEY)
    if not operation.public:
        entry["security"] = [{name: []} for name in SECURITY]
        scope = f"Requires the scope `{operation.scope}`."
        description += f"\n\n{scope if operation.scope else 'Requires a token with any scope.'}"
    if operation.body is not None:
        entry["requestBody"] = {
            "required": operation.body_required,
            "content": {JSON: {"schema": types.schema(operation.body, "validation")}},
        }
    if description.strip():
        entry["description"] = _unwrap(description.strip())
    return entry


def _responses(operation: Operation, types: _Types) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status, body in operation.responses.items():
        content = (
            {body: {"schema": {"type": "string"}}}
            if isinstance(body, str)
            else {JSON: {"schema": types.schema(body, "serialization")}}
        )
        found[str(status.value)] = {"description": status.phrase, "content": content}
    problem = {problems.CONTENT_TYPE: {"schema": types.schema(problems.Problem, "serialization")}}
    for status in operation.all_problems():
        found[str(status.value)] = {"description": PROBLEMS[status], "content": problem}
    return found


def _unwrap(text: str) -> str:
    """Join the lines of each paragraph."""
    return re.sub(r"(?<!\n)\n(?!\n)", " ", text)


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
