"""Errors of the domain. The API turns them into problem details, the CLI into exit codes."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldError:
    """An invalid field, and the reason without the invalid value.

    `field` is a path such as `to` or `attachments[0].content`, and empty for the whole input.
    """

    field: str
    reason: str

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}" if self.field else self.reason


class InvalidError(Exception):
    """Input was rejected for the reasons in `errors`."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("\n".join(map(str, errors)))
        self.errors = [*errors]


class NotFoundError(Exception):
    """The requested object does not exist. The text names it."""


class ConflictError(Exception):
    """The state of the object does not allow the operation. The text says why."""
