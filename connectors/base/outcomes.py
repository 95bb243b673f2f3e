"""The outcomes of an attempt to send: accepted, or one of four errors."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

Suppress = bool | Literal["opt_out", "soft_bounce"]
"""Whether to suppress an address: True if it does not exist or is disabled, `opt_out` if its owner
opted out, `soft_bounce` to suppress it for a time after several of them."""

MAX_RETRY_AFTER = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Reply:
    """A response of a provider that is stored as an inbound message."""

    body: str
    content_type: str | None = None
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider accepted the message.

    `refused` maps each recipient that it rejected permanently to the reason; the others were
    accepted. `detail` is a short, redacted excerpt for the record of the attempt.
    """

    provider_message_id: str | None = None
    code: str | None = None
    detail: str | None = None
    reply: Reply | None = None
    refused: Mapping[str, str] = field(default_factory=dict)


class SendError(Exception):
    """A message was not accepted.

    `code` is the provider's code, or a short word of ours. `detail` is a short text without secrets
    or message content.
    """

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail


class Unavailable(SendError):
    """A temporary failure. `retry_after` is the wait that the provider asked for.

    If some recipients were served, `remaining` are those to retry and `refused` those rejected
    permanently. `is_soft_bounce` tells whether the cause is the recipient's mailbox or server.
    """

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        retry_after: timedelta | None = None,
        remaining: tuple[str, ...] | None = None,
        refused: Mapping[str, str] | None = None,
        is_soft_bounce: bool = False,
    ) -> None:
        super().__init__(code, detail)
        self.retry_after = retry_after
        self.remaining = remaining
        self.refused = refused or {}
        self.is_soft_bounce = is_soft_bounce


class Rejected(SendError):
    """A permanent failure. `suppress` tells whether to suppress the recipient of the message."""

    def __init__(self, code: str, detail: str = "", *, suppress: Suppress = False) -> None:
        super().__init__(code, detail)
        self.suppress = suppress


class Uncertain(SendError):
    """The request was sent and no usable response arrived."""


class Misconfigured(SendError):
    """The provider does not accept our credentials or set-up."""
