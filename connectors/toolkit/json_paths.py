"""Looks values up in a provider's JSON by a path of the settings (JSONPath, RFC 9535)."""

from functools import cache
from typing import Annotated, Any

from jsonpath import CompoundJSONPath, JSONPath, JSONPathEnvironment
from jsonpath.exceptions import JSONPathError
from pydantic import AfterValidator

_environment = JSONPathEnvironment(strict=True)


@cache
def _query(path: str) -> JSONPath | CompoundJSONPath:
    try:
        return _environment.compile(path)
    except JSONPathError as error:
        raise ValueError(f"is no JSONPath: {error.args[0]}") from None


def _checked(path: str) -> str:
    _query(path)
    return path


JsonPath = Annotated[str, AfterValidator(_checked)]


def select(path: str | None, document: Any) -> list[Any]:
    """All that a JsonPath selects, in order: nothing where there is none, or where it leads too
    deep into this document."""
    if path is None:
        return []
    try:
        return _query(path).findall(document)
    except JSONPathError:
        return []


def first(path: str | None, document: Any) -> Any:
    """The first value that a JsonPath selects; None where there is none."""
    return next(iter(select(path, document)), None)
