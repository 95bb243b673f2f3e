"""What requests look like. What cannot be said by a type is checked in `app.submission.validation`."""

from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
)
from pydantic_core import PydanticCustomError

from app.attachments.media_types import MEDIA_TYPE
from app.fields import (
    BASE64,
    FILE_NAME,
    HEADER_NAME,
    HTTP_ADDRESS,
    ONE_LINE,
    S3_ADDRESS,
    SHA256,
    TEXT,
    Code,
    Instant,
    Json,
    JsonObject,
    Request,
)
from connectors.base import Channel

MAX_MESSAGES = 1000
MAX_COPIES = 100
MAX_ATTACHMENTS = 50
MAX_HEADERS = 50


def _only_one(value: Any) -> Any:
    if isinstance(value, list):
        raise PydanticCustomError(
            "one_address", "give one address: more go into cc or bcc, or into messages of their own"
        )
    return value


def _no_boolean(value: Any) -> Any:
    """To Python, true is 1."""
    return str(value) if isinstance(value, bool) else value


Recipient = Annotated[
    str, Field(min_length=1, max_length=512), ONE_LINE, BeforeValidator(_only_one)
]
Address = Annotated[str, Field(min_length=1, max_length=320), ONE_LINE]
Priority = Annotated[
    Literal[0, 1, 2, 3, "immediate", "high", "medium", "low"], BeforeValidator(_no_boolean)
]
FileAddress = Annotated[
    str, StringConstraints(max_length=2048, pattern=f"{HTTP_ADDRESS}|{S3_ADDRESS}")
]
FileName = Annotated[
    str, StringConstraints(min_length=1, max_length=255, pattern=FILE_NAME), ONE_LINE
]
Sha256 = Annotated[str, StringConstraints(pattern=SHA256)]
MediaType = Annotated[str, StringConstraints(max_length=255, pattern=MEDIA_TYPE)]
HeaderName = Annotated[str, StringConstraints(max_length=76, pattern=HEADER_NAME)]
HeaderValue = Annotated[str, Field(max_length=998), ONE_LINE]


class ContentAttachment(Request):
    """A file by its bytes."""

    filename: FileName
    content: Annotated[
        str,
        Field(
            description="in base64",
            json_schema_extra={"pattern": BASE64, "contentEncoding": "base64"},
        ),
    ]
    content_type: MediaType | None = Field(None, description="else by the end of its name")
    sha256: Sha256 | None = Field(None, description="what the content must hash to")


class LinkedAttachment(Request):
    """A file by its address: http, https or s3://bucket/key. It is fetched when the message is
    sent, or handed on where the provider fetches by itself.
    """

    url: FileAddress
    filename: FileName | None = Field(None, description="else the last part of the address")
    content_type: MediaType | None = Field(
        None, description="else as its server says, else by the end of its name"
    )
    sha256: Sha256 | None = Field(
        None, description="what the content must hash to; only for agents that take content"
    )


def _attachment_kind(value: Any) -> str | None:
    if isinstance(value, str):
        return "<url>"
    if isinstance(value, dict):
        return "<content>" if "content" in value else "<link>"
    return None


Attachment = Annotated[
    Annotated[FileAddress, Tag("<url>")]
    | Annotated[ContentAttachment, Tag("<content>")]
    | Annotated[LinkedAttachment, Tag("<link>")],
    Discriminator(
        _attachment_kind,
        custom_error_type="attachment",
        custom_error_message="give an address, or an object with filename and content, or with url",
    ),
]


class MessageContent(Request):
    """What a message may have beside its recipient, whichever its channel."""

    channel: Channel | None = None
    type: Channel | None = Field(None, description="another name of `channel`")
    from_: Address | None = Field(
        None, alias="from", description="the sender; else the default of the agent's profile"
    )
    agent: Code | None = Field(None, description="the way out; else the routing rules choose it")
    profile: Annotated[str, Field(min_length=1, max_length=100), ONE_LINE] = "default"
    subject: Annotated[str, Field(max_length=998), ONE_LINE] | None = None
    body: Annotated[str, TEXT] = Field("", description="plain text; HTML goes into `html`")
    html: Annotated[str, TEXT] | None = Field(None, description="e-mail only")
    cc: list[Address] = Field([], max_length=MAX_COPIES, description="e-mail only")
    bcc: list[Address] = Field([], max_length=MAX_COPIES, description="e-mail only")
    reply_to: Address | None = Field(None, description="e-mail only")
    headers: dict[HeaderName, HeaderValue] = Field(
        {}, max_length=MAX_HEADERS, description="further headers of the e-mail or HTTP request"
    )
    attachments: list[Attachment] | None = Field(None, max_length=MAX_ATTACHMENTS)
    payload: Json = Field(None, description="JSON for the provider, where its connector takes it")
    priority: Priority = Field(2, description="0 or immediate, 1 or high, 2 or medium, 3 or low")
    send_at: Instant | None = Field(None, description="not before; within a year")
    expires_at: Instant | None = Field(None, description="not after; within two years")
    reference: Annotated[str, Field(min_length=1, max_length=255), ONE_LINE] | None = Field(
        None, description="your own name for it, to find it by"
    )
    metadata: JsonObject = Field({}, description="kept with the message, never sent")
    timestamp: Instant | None = Field(
        None, description="the moment of your own record; kept as `timestamp` of the metadata"
    )


class MessageFields(MessageContent):
    """What a message may have, whichever its channel."""

    to: Recipient = Field(
        description="a phone number, an e-mail address, or what the channel's agents call it by"
    )


class MessageRequest(MessageFields):
    """A message to send. One of `channel` and `type` is needed."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": ["channel"]}, {"required": ["type"]}]}
    )


class SmsRequest(MessageFields):
    """A text message to send: SMS, unless its type is MMS."""

    channel: Literal["sms", "mms"] | None = None
    type: Literal["sms", "mms"] | None = Field(None, description="another name of `channel`")


class EmailRequest(MessageFields):
    """An e-mail to send."""

    channel: Literal["email"] | None = None
    type: Literal["email"] | None = Field(None, description="another name of `channel`")


class ReplyRequest(MessageContent):
    """A message to send in a conversation, which fills in what is left open: recipient, sender,
    channel, agent and profile, and of an e-mail the subject and the headers of its thread.
    """

    to: Recipient | None = Field(None, description="one of the participants")
