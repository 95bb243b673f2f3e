"""The outcomes of an attempt to send: accepted, or one of four errors."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

Suppress = bool | Literal["opt_out"]
"""Whether an address must not be written to again: True where it is dead, `opt_out` where its
owner does not want it."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a provider answered that is worth keeping as an inbound record."""

    body: str
    content_type: str | None = None
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider took the message.

    `refused` maps each recipient it refused for good to the reason; the others were taken.
    `detail` is a short, redacted excerpt for the attempt's record.
    """

    provider_message_id: str | None = None
    code: str | None = None
    detail: str | None = None
    reply: Reply | None = None
    refused: Mapping[str, str] = field(default_factory=dict)


class SendError(Exception):
    """Why a message was not taken.

    `code` is the provider's own code or a short word of ours; `detail` a short text that holds
    no secret and no message content.
    """

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail


class Unavailable(SendError):
    """Not taken this time. `retry_after` is the wait the provider asked for.

    `remaining` names the recipients that should be tried again and `refused` those refused for
    good, where the others were served.
    """

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        retry_after: timedelta | None = None,
        remaining: tuple[str, ...] | None = None,
        refused: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code, detail)
        self.retry_after = retry_after
        self.remaining = remaining
        self.refused = refused or {}


class Rejected(SendError):
    """Refused for good. `suppress` says of the message's recipient that it is dead or unwilling."""

    def __init__(self, code: str, detail: str = "", *, suppress: Suppress = False) -> None:
        super().__init__(code, detail)
        self.suppress = suppress


class Uncertain(SendError):
    """The request left and no usable answer came."""


class Misconfigured(SendError):
    """The provider does not accept us: wrong credentials, missing set-up."""
