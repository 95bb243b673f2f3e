"""The message that a connector sends."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Channel = Literal["email", "sms", "mms", "push", "payment", "http"]
AttachmentSource = Literal["content", "url"]


@dataclass(frozen=True, slots=True)
class Attachment:
    """An attachment of a message.

    Attributes:
        name: The file name.
        content_type: The media type.
        content: The content; None if it must be fetched from `url`.
        url: An http, https or s3 URL (`s3://bucket/key`).
        sha256: The expected hash of the content, hexadecimal.
    """

    name: str
    content_type: str
    content: bytes | None = None
    url: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class OutboundMessage:
    """A message to send.

    Addresses are normalised, and header values contain no CR, LF or NUL. `uid` is the same for
    every attempt, so it serves as the provider's idempotency key. `remaining` are the envelope
    recipients that remain after an attempt that reached only some of them; None means all.
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
