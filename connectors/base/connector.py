"""The contract between Postroom and the code for one provider.

A connector takes one message and gives it to its provider, over HTTP or SMTP. It knows no
database, no Flask and no Celery. What became of the message is either an `Accepted`, or one of:

    SendError
    ├── Unavailable     not taken this time: try again, perhaps after `retry_after`
    ├── Rejected        refused for good: never try again
    ├── Uncertain       the request left, no usable answer came: it may have been sent
    └── Misconfigured   our credentials or set-up are wrong: no message of this agent can go

Anything else that `send` raises is a defect of the connector; Postroom treats it as `Uncertain`,
since nobody can tell how far it got.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from connectors.base.errors import ErrorCode
from connectors.base.inbound import (
    Inbound,
    Receipt,
    Received,
    SentMessage,
    WebhookKind,
    WebhookRequest,
)
from connectors.base.message import AttachmentSource, Channel, OutboundMessage
from connectors.base.outcomes import Accepted

OnUncertain = Literal["retry", "hold"]


class ConnectorSettings(BaseModel):
    """Base of every connector's settings. Unknown keys are errors, values do not change, and no
    error quotes a value, which may be a secret. The text below a setting is its description."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True
    )


S = TypeVar("S", bound=ConnectorSettings)

StoreItems = Callable[[Sequence[Receipt | Inbound]], bool]
"""Keeps what a provider had ready, for good once it returns True."""


class Connector(ABC, Generic[S]):
    """The code for one provider: one instance per agent profile, made once a process, used by
    many threads at once.

    A subclass names its settings model, the channels it can serve, the provider's own
    documentation and its table of errors. `attachment_sources` says how files may reach it: with
    `content` it is given their bytes, fetched where need be; with `url` alone an address that the
    provider can read. `deadline` bounds one `send` from its first byte to its last; Postroom
    leases a message to a worker for longer than that. `on_uncertain` is what its agents do after an
    Uncertain if they do not say; where it is `hold`, they may not say otherwise.
    """

    Settings: ClassVar[type[ConnectorSettings]]
    channels: ClassVar[frozenset[Channel]]
    documentation: ClassVar[str | None] = None
    errors: ClassVar[tuple[ErrorCode, ...]] = ()
    attachment_sources: ClassVar[frozenset[AttachmentSource]] = frozenset()
    can_poll: ClassVar[bool] = False
    on_uncertain: ClassVar[OnUncertain] = "retry"

    def __init__(self, settings: S) -> None:
        self.settings = settings

    @property
    @abstractmethod
    def deadline(self) -> timedelta:
        """The longest that one `send` may take."""

    @abstractmethod
    def send(self, message: OutboundMessage) -> Accepted:
        """Give the message to the provider, or raise a `SendError`."""

    @property
    def webhooks(self) -> frozenset[WebhookKind]:
        """The kinds of calls that `receive` can verify. Without the secret that takes: none."""
        return frozenset()

    def receive(self, request: WebhookRequest) -> Received:
        """Verify a call of one of the `webhooks`, then read it. Raises a `WebhookError`."""
        raise NotImplementedError

    def poll(self, messages: Sequence[SentMessage]) -> list[Receipt]:
        """Ask the provider what became of these, where `polls` says that it must be asked.
        Raises a `SendError`."""
        raise NotImplementedError

    @property
    def has_mailboxes(self) -> bool:
        """Whether `collect` is to be called from time to time."""
        return False

    def read_mailboxes(self, store: StoreItems) -> None:
        """Fetch what lies ready at the provider, as in a mailbox, and give it to `keep` piece by
        piece. Each is marked as done only when `keep` has returned True; what is not kept comes
        again. Raises a `SendError`, and what `keep` raises."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of pooled connections. Called when the process ends."""
