"""Error codes of a provider as data: their meaning and the outcome of the message."""

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
    """One error code of a provider.

    `retry_after` is the minimum wait of an Unavailable if the provider asks for none. `suppress`
    tells whether a Rejected suppresses the recipient, and why.
    """

    code: str
    outcome: type[Unavailable | Rejected | Uncertain | Misconfigured]
    meaning: str
    retry_after: timedelta | None = None
    suppress: Suppress = False

    def error(self, detail: str = "", retry_after: timedelta | None = None) -> SendError:
        """Return the error to raise, with the provider's text and the wait it asked for, if any."""
        if self.outcome is Unavailable:
            return Unavailable(
                self.code,
                detail,
                retry_after=retry_after or self.retry_after,
                is_soft_bounce=self.suppress == "soft_bounce",
            )
        if self.outcome is Rejected:
            return Rejected(self.code, detail, suppress=self.suppress)
        return self.outcome(self.code, detail)
