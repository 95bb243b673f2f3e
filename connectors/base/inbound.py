"""Receipts and messages from a provider, and the webhook requests that bring them.

`Connector.parse` returns those of a webhook, `Connector.poll` requests receipts. Neither knows
the database: the caller stores what they return.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from connectors.base.message import Attachment, Channel
from connectors.base.outcomes import Suppress

WebhookKind = Literal["inbound", "status"]
Keyword = Literal["stop", "start", "help"]

ReceiptKind = Literal[
    # Receipts that move a message forward:
    "sent",
    "delivered",
    "bounced",
    "failed",
    # Receipts that are only recorded:
    "queued",
    "deferred",
    "opened",
    "clicked",
    "complained",
    "unsubscribed",
    "resubscribed",
    "unrecognised",
]

ReceiptOrigin = Literal["verified", "addressed", "unverified"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A provider's report on a message that it accepted.

    Attributes:
        key: Identifies this report among all reports of the agent; the same for repeats.
        kind: What it reports.
        provider_message_id: The provider's id of the message.
        message_uid: Our id of the message. At least one of the two ids is set.
        recipient: The recipient it is about, if the message has several.
        occurred_at: When it happened, aware.
        code: The provider's code.
        detail: The provider's description.
        suppress: Whether to suppress the recipient, and why.
        payload: The report itself, for the record.
        origin: Who can have made the report. `verified`: only the provider or the recipient's own
            mail server. `addressed`: only someone who received the message, since the report was
            sent to its own return path. `unverified`: anyone who knows an id of the message.
        repeat_window: If set, the key is derived from the content of the report, and the same
            content is a new report after this time.
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
    origin: ReceiptOrigin = "verified"
    repeat_window: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbound:
    """An inbound message.

    Attributes:
        key: Identifies this message among all messages of the agent; the same for repeats.
        in_reply_to: Ids of the message that it replies to, nearest first: Message-IDs of mail, or
            the provider's ids of our messages.
        keyword: Set if the provider itself recognised STOP, START or HELP.
        automatic: Whether no person wrote it.
        repeat_window: If set, the key is derived from the content of the message, and the same
            content is a new message after this time.
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
    repeat_window: timedelta | None = None


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """One HTTP request of a provider, unchanged.

    Attributes:
        kind: The endpoint that it was sent to.
        url: The URL as the provider knows it: the configured public base, then path and query as
            received.
        headers: By name in lower case.
        body: The raw body, which signatures cover.
        received_at: When it arrived, aware.
    """

    kind: WebhookKind
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime

    @property
    def query(self) -> list[tuple[str, str]]:
        """The query parameters, decoded, in order, including blank ones."""
        return parse_qsl(urlsplit(self.url).query, keep_blank_values=True)

    @property
    def form(self) -> list[tuple[str, str]]:
        """The fields of an urlencoded body, decoded, in order, including blank ones.

        Raises:
            MalformedWebhook: The body is not an urlencoded form in UTF-8.
        """
        try:
            return parse_qsl(
                self.body.decode(), keep_blank_values=True, max_num_fields=1000, errors="strict"
            )
        except ValueError:
            raise MalformedWebhook("the body is not an urlencoded form in UTF-8") from None


@dataclass(frozen=True, slots=True)
class RawMail:
    """An e-mail as it is in a mailbox.

    Attributes:
        content: The e-mail, or the beginning of one that is too large to be fetched.
        size_bytes: The size of the whole e-mail.
    """

    content: bytes
    size_bytes: int


@dataclass(frozen=True, slots=True)
class WebhookResponse:
    """The response to a webhook that was stored."""

    status: int = 204
    body: bytes = b""
    content_type: str | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """The contents of a webhook, in order, and the response once they are stored."""

    items: Sequence[Receipt | Inbound]
    response: WebhookResponse = WebhookResponse()


@dataclass(frozen=True, slots=True)
class SentMessage:
    """A sent message that a provider is polled for."""

    provider_message_id: str
    uid: str
    channel: Channel
    recipient: str
    sent_at: datetime


class WebhookError(Exception):
    """A webhook was not accepted. The text contains no secret."""


class UnsignedWebhook(WebhookError):
    """The request has no signature or credentials."""


class UnverifiedWebhook(WebhookError):
    """The signature or credentials are wrong or too old."""


class MalformedWebhook(WebhookError):
    """The request is verified, but is not one that this provider sends."""
