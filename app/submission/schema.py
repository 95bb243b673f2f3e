"""The messages that a caller may submit.

What types cannot express is checked in `app.submission.validation`.
"""

from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from app.agents import Name
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
            "one_address", "must be one address. Use cc, bcc or separate messages for others."
        )
    return value


def _no_boolean(value: Any) -> Any:
    # In Python, True equals 1.
    return str(value) if isinstance(value, bool) else value


Recipient = Annotated[
    str, Field(min_length=1, max_length=512), ONE_LINE, BeforeValidator(_only_one)
]
Address = Annotated[str, Field(min_length=1, max_length=320), ONE_LINE]
Priority = Annotated[
    Literal[0, 1, 2, 3, "immediate", "high", "medium", "low"],
    BeforeValidator(_no_boolean),
    # Code generators do not support an enumeration of several types.
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "enum": [0, 1, 2, 3]},
                {"type": "string", "enum": ["immediate", "high", "medium", "low"]},
            ]
        }
    ),
]
AttachmentUrl = Annotated[
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
    """A file with its content."""

    filename: FileName
    content: Annotated[
        str,
        Field(
            description="Base64.",
            json_schema_extra={"pattern": BASE64, "contentEncoding": "base64"},
        ),
    ]
    content_type: MediaType | None = Field(
        None, description="By default, derived from the filename."
    )
    sha256: Sha256 | None = Field(None, description="The expected checksum of the content.")


class LinkedAttachment(Request):
    """A file to download.

    Postroom downloads it when the message is sent, unless the provider does so itself.
    """

    url: AttachmentUrl = Field(description="An HTTP or HTTPS URL, or `s3://bucket/key`.")
    filename: FileName | None = Field(None, description="By default, the last part of the URL.")
    content_type: MediaType | None = Field(
        None,
        description="By default, as reported by the server, or derived from the filename.",
    )
    sha256: Sha256 | None = Field(
        None,
        description="The expected checksum of the content. Only for agents that send content.",
    )


def _attachment_kind(value: Any) -> str | None:
    if isinstance(value, str):
        return "<url>"
    if isinstance(value, dict):
        return "<content>" if "content" in value else "<link>"
    return None


Attachment = Annotated[
    Annotated[AttachmentUrl, Tag("<url>")]
    | Annotated[ContentAttachment, Tag("<content>")]
    | Annotated[LinkedAttachment, Tag("<link>")],
    Discriminator(
        _attachment_kind,
        custom_error_type="attachment",
        custom_error_message="must be a URL, or an object with filename and content, or with url",
    ),
]


class MessageContent(Request):
    """The fields of a message other than its recipient."""

    channel: Channel | None = None
    type: Channel | None = Field(None, description="Another name of `channel`.")
    from_: Address | None = Field(
        None, alias="from", description="By default, the sender of the agent's profile."
    )
    agent: Name | None = Field(None, description="By default, chosen by the routing rules.")
    profile: Annotated[str, Field(min_length=1, max_length=100), ONE_LINE] = "default"
    subject: Annotated[str, Field(max_length=998), ONE_LINE] | None = None
    body: Annotated[str, TEXT] = Field("", description="Plain text. Use `html` for HTML.")
    html: Annotated[str, TEXT] | None = Field(None, description="E-mail only.")
    cc: list[Address] = Field([], max_length=MAX_COPIES, description="E-mail only.")
    bcc: list[Address] = Field([], max_length=MAX_COPIES, description="E-mail only.")
    reply_to: Address | None = Field(None, description="E-mail only.")
    headers: dict[HeaderName, HeaderValue] = Field(
        {},
        max_length=MAX_HEADERS,
        description="Additional headers of the e-mail or HTTP request.",
    )
    attachments: list[Attachment] | None = Field(None, max_length=MAX_ATTACHMENTS)
    payload: Json = Field(
        None, description="JSON for the provider, if the connector of the agent supports it."
    )
    priority: Priority = Field(2, description="0 or immediate, 1 or high, 2 or medium, 3 or low.")
    send_at: Instant | None = Field(
        None, description="The earliest time to send; at most a year ahead, or a day in the past."
    )
    expires_at: Instant | None = Field(
        None,
        description="A message not sent by this time expires; at most two years ahead.",
    )
    reference: Annotated[str, Field(min_length=1, max_length=255), ONE_LINE] | None = Field(
        None, description="Your own identifier. Messages can be filtered by it."
    )
    metadata: JsonObject = Field({}, description="Stored with the message, never sent.")
    timestamp: Instant | None = Field(
        None, description="The time of your own record. Stored as `timestamp` in `metadata`."
    )


class MessageFields(MessageContent):
    """The fields of a message."""

    to: Recipient = Field(
        description="A phone number, an e-mail address, or whatever addresses a recipient on the"
        " channel."
    )


class MessageRequest(MessageFields):
    """A message to send. `channel` or `type` is required."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"channel": "sms", "from": "+12016661234", "to": "+18045551234", "body": "Hello"},
                {
                    "channel": "email",
                    "from": "Shop <shop@example.com>",
                    "to": "ann@example.org",
                    "subject": "Your order",
                    "body": "Thank you.",
                    "html": "<p>Thank you.</p>",
                    "attachments": ["https://files.example.com/invoice.pdf"],
                    "reference": "order-4711",
                },
            ]
        }
    )


class SmsRequest(MessageFields):
    """A text message to send, by default as an SMS."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"from": "+12016661234", "to": "+18045551234", "body": "Hello"}]
        }
    )

    channel: Literal["sms", "mms"] | None = None
    type: Literal["sms", "mms"] | None = Field(None, description="Another name of `channel`.")


class EmailRequest(MessageFields):
    """An e-mail to send."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "from": "shop@example.com",
                    "to": "ann@example.org",
                    "subject": "Hello",
                    "body": "Thank you.",
                }
            ]
        }
    )

    channel: Literal["email"] | None = None
    type: Literal["email"] | None = Field(None, description="Another name of `channel`.")


class ReplyRequest(MessageContent):
    """A message to send in a conversation.

    The conversation provides the recipient, sender, channel, agent and profile, and for an e-mail
    the subject and the threading headers, unless they are given.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"body": "Thank you."}]})

    to: Recipient | None = Field(None, description="A participant of the conversation.")
