"""The format of requests to SendGrid, with the errors that SendGrid documents.

https://www.twilio.com/docs/sendgrid/api-reference/mail-send/errors
"""

import base64
import binascii
import json
import re
import time
from collections import Counter
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    model_validator,
)

MAX_SCHEDULE_SECONDS = 72 * 3600
MAX_RECIPIENTS = 1000
MAX_CUSTOM_ARGS_BYTES = 10_000
RESERVED_HEADERS = frozenset(
    {
        "x-sg-id",
        "x-sg-eid",
        "received",
        "dkim-signature",
        "content-type",
        "content-transfer-encoding",
        "to",
        "from",
        "subject",
        "reply-to",
        "cc",
        "bcc",
    }
)


def _base64(text: str) -> str:
    try:
        base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("The attachment content must be base64 encoded.") from None
    return text


def _header_name(name: str) -> str:
    if not re.fullmatch(r"[!-9;-~]+", name):
        raise ValueError("Header keys cannot contain non-ASCII characters or empty spaces.")
    if name.lower() in RESERVED_HEADERS:
        raise ValueError("Header cannot be one of the reserved keys.")
    return name


def _not_too_late(timestamp: int) -> int:
    if timestamp > time.time() + MAX_SCHEDULE_SECONDS:
        raise ValueError("Scheduling more than 72 hours in advance is forbidden.")
    return timestamp


def _custom_args(arguments: dict[str, str]) -> dict[str, str]:
    if len(json.dumps(arguments, ensure_ascii=False).encode()) > MAX_CUSTOM_ARGS_BYTES:
        raise ValueError("The combined size of custom arguments may not exceed 10,000 bytes.")
    return arguments


def _unique(categories: list[str]) -> list[str]:
    if len(set(categories)) < len(categories):
        raise ValueError("The categories must be a unique list.")
    return categories


Text = Annotated[StrictStr, Field(min_length=1)]
Headers = dict[Annotated[StrictStr, AfterValidator(_header_name)], StrictStr]


class Part(BaseModel):
    """A part of a request. Null values and unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Mailbox(Part):
    """An e-mail address with a display name."""

    email: Annotated[StrictStr, Field(max_length=320, pattern=r"^[^@\s<>\",;]+@[^@\s<>\",;]+$")]
    name: StrictStr = ""


Mailboxes = Annotated[list[Mailbox], Field(min_length=1)]


class Personalization(Part):
    """The recipients of one copy of the mail."""

    to: Mailboxes
    cc: Mailboxes = []
    bcc: Mailboxes = []

    @model_validator(mode="after")
    def _check_unique(self) -> Self:
        counts = Counter(mailbox.email.casefold() for mailbox in self.recipients())
        duplicates = [email for email, count in counts.items() if count > 1]
        if duplicates:
            raise ValueError(
                "Each email address in the personalization block should be unique between to, "
                f"cc, and bcc. We found the first duplicate instance of [{duplicates[0]}]"
            )
        return self

    def recipients(self) -> list[Mailbox]:
        """Return all recipients in to, cc and bcc."""
        return [*self.to, *self.cc, *self.bcc]


class Content(Part):
    """A body with its media type."""

    type: Annotated[StrictStr, Field(pattern=r"^[^;,\r\n]+$")]
    value: Text


class Attachment(Part):
    """An attached file."""

    content: Annotated[Text, AfterValidator(_base64)]
    filename: Annotated[StrictStr, Field(pattern=r"^[^;,\r\n]+$")]
    type: Annotated[StrictStr, Field(pattern=r"^[^;,\r\n]+$")] = "application/octet-stream"
    disposition: Literal["attachment", "inline"] = "attachment"
    content_id: Annotated[StrictStr, Field(pattern=r"^[^;,\r\n]+$")] = ""


class Switch(Part):
    """A setting that can be on or off."""

    enable: StrictBool


class MailSettings(Part):
    """The supported mail settings."""

    sandbox_mode: Switch = Switch(enable=False)


class Mail(Part):
    """A Mail Send request."""

    personalizations: Annotated[list[Personalization], Field(min_length=1, max_length=1000)]
    from_: Annotated[Mailbox, Field(alias="from")]
    reply_to: Mailbox | None = None
    subject: Text
    content: Annotated[list[Content], Field(min_length=1)]
    attachments: Annotated[list[Attachment], Field(min_length=1)] = []
    headers: Headers = {}
    categories: Annotated[
        list[Annotated[StrictStr, Field(max_length=255, pattern=r"^[ -~]+$")]],
        Field(max_length=10),
        AfterValidator(_unique),
    ] = []
    custom_args: Annotated[dict[str, StrictStr], AfterValidator(_custom_args)] = {}
    send_at: Annotated[StrictInt, AfterValidator(_not_too_late)] = 0
    mail_settings: MailSettings = MailSettings()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.recipients()) > MAX_RECIPIENTS:
            raise ValueError("There is a limit of 1000 total recipients (to + cc + bcc).")
        known = [part.type for part in self.content if part.type in ("text/plain", "text/html")]
        if [part.type for part in self.content][: len(known)] != sorted(known, reverse=True):
            raise ValueError("text/plain needs to be first, followed by text/html.")
        return self

    def recipients(self) -> list[Mailbox]:
        """Return the recipients of all personalizations."""
        return [mailbox for one in self.personalizations for mailbox in one.recipients()]


class Webhooks(Part):
    """The URLs for events and for inbound mail; empty to disable. They may hold credentials."""

    url: StrictStr = ""
    inbound_url: StrictStr = ""


class Envelope(Part):
    """The SMTP envelope of an inbound mail."""

    from_: Annotated[StrictStr, Field(alias="from")]
    to: Annotated[list[StrictStr], Field(min_length=1)]


class Inbound(Part):
    """An inbound mail; `raw` chooses between the raw and the parsed webhook format."""

    mime: Text
    envelope: Envelope
    raw: StrictBool = False
