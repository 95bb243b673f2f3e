"""The contract between Postroom and the code for one provider.

A connector sends one message to its provider, over HTTP or SMTP. It does not know the database,
Flask or Celery. The outcome of a send is an `Accepted`, or one of these errors:

    SendError
    ├── Unavailable     temporary: retry, perhaps after `retry_after`
    ├── Rejected        permanent: never retry
    ├── Uncertain       the request was sent and no usable response arrived: it may have been sent
    └── Misconfigured   wrong credentials or set-up: no message of this agent can be sent

Any other exception is a defect of the connector. Postroom treats it as `Uncertain`, since it
cannot know how far the send got.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from connectors.base.errors import ErrorCode
from connectors.base.inbound import (
    Inbound,
    RawMail,
    Receipt,
    Received,
    SentMessage,
    WebhookKind,
    WebhookRequest,
    WebhookResponse,
)
from connectors.base.message import AttachmentSource, Channel, OutboundMessage
from connectors.base.outcomes import Accepted

OnUncertain = Literal["retry", "hold"]


class ConnectorSettings(BaseModel):
    """The base of a connector's settings.

    Unknown keys are errors, values do not change, and no error quotes a value, which may be a
    secret. The docstring below a setting is its description.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True
    )


S = TypeVar("S", bound=ConnectorSettings)

StoreMail = Callable[[RawMail], None]
"""Stores an e-mail for good, or raises an exception."""


class Connector(ABC, Generic[S]):
    """The code for one provider.

    There is one instance per profile of an agent and process, used by many threads at once.

    Attributes:
        Settings: The model of its settings.
        channels: The channels that it can serve.
        documentation: The URL of the provider's documentation.
        errors: The provider's error codes.
        attachment_sources: How attachments reach it: with `content` it receives their content,
            fetched if need be; with `url` alone, a URL that the provider can read.
        mail_webhooks: The kinds of webhooks that contain e-mail, which is parsed later.
        can_poll: Whether its provider must be polled for receipts.
        on_uncertain: What its agents do after an Uncertain by default. An agent of a connector
            with `hold` cannot change it.
    """

    Settings: ClassVar[type[ConnectorSettings]]
    channels: ClassVar[frozenset[Channel]]
    documentation: ClassVar[str | None] = None
    errors: ClassVar[tuple[ErrorCode, ...]] = ()
    attachment_sources: ClassVar[frozenset[AttachmentSource]] = frozenset()
    mail_webhooks: ClassVar[frozenset[WebhookKind]] = frozenset()
    can_poll: ClassVar[bool] = False
    on_uncertain: ClassVar[OnUncertain] = "retry"

    def __init__(self, settings: S) -> None:
        self.settings = settings

    @property
    @abstractmethod
    def send_timeout(self) -> timedelta:
        """The maximum duration of one `send`. The lease of a message is longer."""

    @abstractmethod
    def send(self, message: OutboundMessage) -> Accepted:
        """Send the message, or raise a `SendError`."""

    @property
    def webhooks(self) -> frozenset[WebhookKind]:
        """The kinds of webhooks that can be verified; none if the secret is not set."""
        return frozenset()

    def verify(self, request: WebhookRequest) -> WebhookResponse:
        """Verify a webhook of one of the `webhooks` kinds and return the response to it.

        It may take time in proportion to the size of the request, and no more.

        Raises:
            UnsignedWebhook: The request has no signature.
            UnverifiedWebhook: The signature is invalid.
        """
        raise NotImplementedError

    def parse(self, request: WebhookRequest) -> Sequence[Receipt | Inbound]:
        """Return the contents of a verified webhook, in order.

        Requests of the kinds in `mail_webhooks`, and large ones, are stored and answered first, and
        parsed later in a process of its own, which is killed if it takes too long. They lack the
        headers with credentials then.

        Raises:
            MalformedWebhook: The request has another format.
        """
        raise NotImplementedError

    def receive(self, request: WebhookRequest) -> Received:
        """Verify and parse a webhook at once.

        Raises:
            WebhookError: The request is not signed, not verified or malformed.
        """
        response = self.verify(request)
        return Received(self.parse(request), response)

    def poll(self, messages: Sequence[SentMessage]) -> list[Receipt]:
        """Return the receipts that the provider has for these messages.

        Raises:
            SendError: The provider did not respond, or denied access.
        """
        raise NotImplementedError

    @property
    def has_mailboxes(self) -> bool:
        """Whether `read_mailboxes` must be called periodically."""
        return False

    def read_mailboxes(self, store: StoreMail) -> None:
        """Fetch the e-mails in the mailboxes of the provider and pass each to `store`.

        A message is marked as done only once `store` has returned; otherwise it is fetched
        again.

        Raises:
            SendError: A mailbox cannot be read. Exceptions of `store` are passed on.
        """
        raise NotImplementedError

    def parse_mail(self, mail: RawMail) -> Sequence[Receipt | Inbound]:
        """Return the contents of an e-mail from a mailbox.

        Like a webhook with an e-mail, it is parsed in a process of its own.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Close pooled connections. Called when the process ends."""
