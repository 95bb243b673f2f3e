"""Render the settings and error codes of a connector as Markdown tables."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from connectors.base import Connector, ErrorCode, Misconfigured, Rejected, Uncertain


def settings_table(connector: type[Connector[Any]]) -> str:
    """Return a table with a row for each setting. Nested settings have dotted names."""
    rows = [
        f"| `{name}` | {_default(field)} | {_cell(field.description or '')} |"
        for name, field in _fields(connector.Settings)
    ]
    return "\n".join(["| Setting | Default | Description |", "|---|---|---|", *rows])


def errors_table(connector: type[Connector[Any]]) -> str:
    """Return a table with a row for each of the provider's error codes."""
    if not connector.errors:
        return "The provider has no error codes of its own. The HTTP status decides."
    rows = [
        f"| `{error.code}` | {_cell(error.meaning)} | {_effect(error)} |"
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
        return "required"
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


def _effect(error: ErrorCode) -> str:
    if error.outcome is Misconfigured:
        return "waits; the agent is paused"
    if error.outcome is Uncertain:
        return "may have been sent; `on_uncertain` decides"
    if error.outcome is Rejected:
        is_suppressed = error.suppress and error.suppress != "soft_bounce"
        return "fails; the recipient is suppressed" if is_suppressed else "fails"
    if error.retry_after:
        return f"is retried after at least {_duration(error.retry_after)}"
    return "is retried"


def _duration(duration: timedelta) -> str:
    seconds = int(duration.total_seconds())
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds % length == 0:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")
