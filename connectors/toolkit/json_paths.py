"""Select values in a provider's JSON by a path from the settings (JSONPath, RFC 9535).

The library is large, so it is imported only when an agent uses a path.
"""

from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator

if TYPE_CHECKING:
    from jsonpath import CompoundJSONPath, JSONPath


@cache
def _compile(path: str) -> "JSONPath | CompoundJSONPath":
    from jsonpath import JSONPathEnvironment  # noqa: PLC0415 - see the docstring
    from jsonpath.exceptions import JSONPathError  # noqa: PLC0415

    try:
        return JSONPathEnvironment(strict=True).compile(path)
    except JSONPathError as error:
        raise ValueError(f"not a valid JSONPath: {error.args[0]}") from None


def _check(path: str) -> str:
    _compile(path)
    return path


JsonPath = Annotated[str, AfterValidator(_check)]


def select(path: str | None, document: Any) -> list[Any]:
    """Return the values that a path selects, in order.

    The list is empty if there is no path, or if the document is nested too deeply for it.
    """
    if path is None:
        return []
    from jsonpath.exceptions import JSONPathError  # noqa: PLC0415 - see the docstring

    try:
        return _compile(path).findall(document)
    except JSONPathError:
        return []


def first(path: str | None, document: Any) -> Any:
    """Return the first value that a path selects, or None."""
    return next(iter(select(path, document)), None)
