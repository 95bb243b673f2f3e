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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from connectors.errors import ErrorCode
    from connectors.inbound import Inbound, Receipt, Received, SentMessage, WebhookCall, WebhookKind

Channel = Literal["email", "sms", "mms", "push", "payment", "http"]
AttachmentSource = Literal["content", "url"]
Suppress = bool | Literal["opt_out"]
"""Whether an address must not be written to again: True where it is dead, `opt_out` where its
owner does not want it."""
OnUncertain = Literal["retry", "hold"]


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file of a message: its bytes in `content`, or where they are in `url`, an http:// or
    https:// address or `s3://bucket/key`. `sha256`, in hexadecimal, is what they must hash to."""

    name: str
    content_type: str
    content: bytes | None = None
    url: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class OutboundMessage:
    """What a connector is given to send. Addresses are normalised, header values hold no CR,
    LF or NUL. `uid` is the same for every try, so it serves as the provider's idempotency key.

    `remaining` names the envelope recipients that are still to be served where an earlier try
    reached only some of them; None means all of them.
    """

    id: int
    uid: str
    channel: Channel
    recipient: str
    sender: str | None = None
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    reply_to: str | None = None
    subject: str | None = None
    body: str = ""
    html: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    payload: Any = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    reference: str | None = None
    created_at: datetime | None = None
    attachments: tuple[Attachment, ...] = ()
    remaining: tuple[str, ...] | None = None


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


class ConnectorSettings(BaseModel):
    """Base of every connector's settings. Unknown keys are errors, values do not change, and no
    error quotes a value, which may be a secret. The text below a setting is its description."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True
    )


S = TypeVar("S", bound=ConnectorSettings)

Keep: TypeAlias = "Callable[[Sequence[Receipt | Inbound]], bool]"
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
    errors: "ClassVar[tuple[ErrorCode, ...]]" = ()
    attachment_sources: ClassVar[frozenset[AttachmentSource]] = frozenset()
    polls: ClassVar[bool] = False
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
    def webhooks(self) -> "frozenset[WebhookKind]":
        """The kinds of calls that `receive` can verify. Without the secret that takes: none."""
        return frozenset()

    def receive(self, call: "WebhookCall") -> "Received":
        """Verify a call of one of the `webhooks`, then read it. Raises a `CallError`."""
        raise NotImplementedError

    def poll(self, messages: "Sequence[SentMessage]") -> "list[Receipt]":
        """Ask the provider what became of these, where `polls` says that it must be asked.
        Raises a `SendError`."""
        raise NotImplementedError

    @property
    def collects(self) -> bool:
        """Whether `collect` is to be called from time to time."""
        return False

    def collect(self, keep: "Keep") -> None:
        """Fetch what lies ready at the provider, as in a mailbox, and give it to `keep` piece by
        piece. Each is marked as done only when `keep` has returned True; what is not kept comes
        again. Raises a `SendError`, and what `keep` raises."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of pooled connections. Called when the process ends."""
