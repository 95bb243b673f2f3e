"""A message as a connector is given it to send."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Channel = Literal["email", "sms", "mms", "push", "payment", "http"]
AttachmentSource = Literal["content", "url"]


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
