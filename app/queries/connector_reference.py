"""What a connector can be set to and what it makes of errors, as Markdown, from its own code."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from connectors.base import Connector, ErrorCode, Misconfigured, Rejected, Uncertain


def settings_table(connector: type[Connector[Any]]) -> str:
    """A row for each setting, those of nested tables by their dotted names."""
    rows = [
        f"| `{name}` | {_default(field)} | {_one_line(field.description or '')} |"
        for name, field in _fields(connector.Settings)
    ]
    return "\n".join(["| Setting | Default | Meaning |", "|---|---|---|", *rows])


def errors_table(connector: type[Connector[Any]]) -> str:
    """A row for each code of the provider."""
    if not connector.errors:
        return "It has no codes of its own: the HTTP status decides, as described above."
    rows = [
        f"| `{error.code}` | {_one_line(error.meaning)} | {_consequence(error)} |"
        for error in connector.errors
    ]
    return "\n".join(["| Code | Meaning | The message |", "|---|---|---|", *rows])


def _fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        yield prefix + name, field
        for inner in get_args(field.annotation) or (field.annotation,):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from _fields(inner, f"{prefix}{name}.")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value = field.get_default(call_default_factory=True, validated_data={})
    match value:
        case None | () | {} | "":
            return "–"
        case bool():
            return f"`{str(value).lower()}`"
        case frozenset() | tuple():
            return f"`{sorted(value)}`"
        case float():
            return f"`{value:g}`"
        case _:
            return f"`{value}`"


def _consequence(error: ErrorCode) -> str:
    if error.outcome is Misconfigured:
        return "waits; its agent is paused"
    if error.outcome is Uncertain:
        return "may have been sent: `on_uncertain` decides"
    if error.outcome is Rejected:
        return "fails; its recipient is suppressed" if error.suppress else "fails"
    wait = f", after {_span(error.retry_after)} at least" if error.retry_after else ""
    return f"is tried again{wait}"


def _span(time: timedelta) -> str:
    seconds = int(time.total_seconds())
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds % length == 0:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")
