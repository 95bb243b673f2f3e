"""What comes back from a provider: replies and receipts, and the webhook call that brings them.

`Connector.receive` makes them out of a call, `Connector.poll` asks for receipts where a provider
does not call. Both know no database: whoever calls them keeps what they return.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from connectors.base.message import Attachment, Channel
from connectors.base.outcomes import Suppress

WebhookKind = Literal["inbound", "status"]
Keyword = Literal["stop", "start", "help"]

ReceiptKind = Literal[
    # These move a message, forward only:
    "sent",
    "delivered",
    "bounced",
    "failed",
    # These are kept as events of it:
    "queued",
    "deferred",
    "opened",
    "clicked",
    "complained",
    "unsubscribed",
    "resubscribed",
    "unrecognised",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a provider says of a message that it took.

    `key` is the same whenever the provider repeats this very report, and another for every other
    report of this agent. The message is known by `provider_message_id`, by our own
    `message_uid`, or by both. `recipient` names the one that is meant, `suppress` says that it
    must not be written to again. `code` and `detail` are the provider's; `payload` keeps its
    report for the record.
    """

    key: str
    kind: ReceiptKind
    provider_message_id: str | None = None
    message_uid: str | None = None
    recipient: str | None = None
    occurred_at: datetime | None = None
    code: str | None = None
    detail: str | None = None
    suppress: Suppress = False
    payload: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbound:
    """A message from outside.

    `key` is the same whenever the provider repeats this very message. `answers` holds what the
    message says it answers, nearest first: Message-IDs of mail, else provider's ids of ours.
    `keyword` is set where the provider itself took the text for STOP, START or HELP.
    """

    key: str
    channel: Channel
    sender: str
    recipient: str
    body: str = ""
    html: str | None = None
    subject: str | None = None
    provider_message_id: str | None = None
    attachments: tuple[Attachment, ...] = ()
    in_reply_to: tuple[str, ...] = ()
    keyword: Keyword | None = None
    automatic: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    occurred_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """One HTTP request of a provider, untouched.

    `url` is the address as the provider knows it: the configured public base, then path and query
    as they came. Header names are in lower case. `received_at` is aware.
    """

    kind: WebhookKind
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime

    @property
    def query(self) -> list[tuple[str, str]]:
        """The parameters of the address, decoded, in order, blank ones too."""
        return parse_qsl(urlsplit(self.url).query, keep_blank_values=True)

    @property
    def form(self) -> list[tuple[str, str]]:
        """The fields of an urlencoded body, decoded, in order, blank ones too. Raises
        MalformedWebhook where it is none."""
        try:
            return parse_qsl(
                self.body.decode(), keep_blank_values=True, max_num_fields=1000, errors="strict"
            )
        except ValueError:
            raise MalformedWebhook("the body is no urlencoded form in UTF-8") from None


@dataclass(frozen=True, slots=True)
class WebhookResponse:
    """What to answer a provider whose call was kept."""

    status: int = 204
    body: bytes = b""
    content_type: str | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """What a call brought, in its order, and what to answer once it is kept."""

    items: Sequence[Receipt | Inbound]
    response: WebhookResponse = WebhookResponse()


@dataclass(frozen=True, slots=True)
class SentMessage:
    """A message whose fate a provider is asked for."""

    provider_message_id: str
    uid: str
    channel: Channel
    recipient: str
    sent_at: datetime


class WebhookError(Exception):
    """Why a call was not taken; its text holds no secret."""


class UnsignedWebhook(WebhookError):
    """The call brings no signature or no credentials."""


class UnverifiedWebhook(WebhookError):
    """The signature or the credentials are wrong, or too old."""


class MalformedWebhook(WebhookError):
    """The call is signed, but is none that this provider would make."""
