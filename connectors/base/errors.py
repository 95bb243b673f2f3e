"""A provider's error codes as data: what each means, and what becomes of the message."""

from dataclasses import dataclass
from datetime import timedelta

from connectors.base.outcomes import (
    Misconfigured,
    Rejected,
    SendError,
    Suppress,
    Unavailable,
    Uncertain,
)


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """One row of a provider's table.

    `retry_after` is the least wait of an Unavailable where the provider names none; `suppress`
    says of a Rejected that the address itself is dead or unwilling.
    """

    code: str
    outcome: type[Unavailable | Rejected | Uncertain | Misconfigured]
    meaning: str
    retry_after: timedelta | None = None
    suppress: Suppress = False

    def error(self, detail: str = "", retry_after: timedelta | None = None) -> SendError:
        """The error to raise, with the provider's own text and, if it named one, its wait."""
        if self.outcome is Unavailable:
            return Unavailable(self.code, detail, retry_after=retry_after or self.retry_after)
        if self.outcome is Rejected:
            return Rejected(self.code, detail, suppress=self.suppress)
        return self.outcome(self.code, detail)
