"""From a request to a submission: every check that no type can express, each blaming its field."""

import base64
import hashlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from app import addresses
from app.agents import Agents, UnroutableError, choose_agent
from app.attachments.media_types import UNKNOWN_TYPE, content_type
from app.errors import FieldError, InvalidError
from app.fields import now
from app.models import PRIORITIES
from app.settings import settings
from app.submission.schema import Attachment, ContentAttachment, LinkedAttachment, MessageFields
from app.submission.submission import Submission
from connectors import base
from connectors.api.settings import RESERVED_HEADERS

MAX_SEND_AHEAD = timedelta(days=366)
MAX_EXPIRY_AHEAD = timedelta(days=732)
MAX_SENDER = 128
EMAIL_ONLY = ("html", "cc", "bcc", "reply_to")
EMAIL_HEADERS = frozenset(
    {"from", "to", "cc", "bcc", "reply-to", "subject", "date", "message-id", "mime-version"}
)

Channel = base.Channel


class _Faults(list[FieldError]):
    """What is wrong with a message so far."""

    def add(self, field: str, reason: object) -> None:
        self.append(FieldError(field, str(reason)))


def validate(
    message: MessageFields, agents: Agents, *, default_channel: Channel | None = None
) -> Submission:
    """The submission of `message`, on `channel` where it names none itself. Raises InvalidError with
    all that is wrong with it.
    """
    faults = _Faults()
    channel = _channel(message, default_channel, faults)
    recipient = _address("to", channel, message.to, faults)
    sender = _sender(channel, message.from_, faults) if message.from_ else None
    _check_content(channel, message, faults)
    _check_headers(channel, message, faults)
    _check_times(message, faults)

    try:
        agent = choose_agent(
            agents,
            channel=channel,
            recipient=recipient,
            sender=sender,
            requested=message.agent,
            profile=message.profile,
        )
    except UnroutableError as error:
        faults.add(error.field, error)
        raise InvalidError(faults) from None
    sender = sender or agents.default_sender(agent.name, message.profile)
    if channel == "email" and sender is None:
        faults.add("from", f"needed: profile {message.profile} of {agent.name} has no sender")
    files = _attachments(
        message.attachments or [],
        agents.connector(agent.name, message.profile).attachment_sources,
        faults,
    )
    cc = [_address(f"cc[{n}]", channel, one, faults) for n, one in enumerate(message.cc)]
    bcc = [_address(f"bcc[{n}]", channel, one, faults) for n, one in enumerate(message.bcc)]
    reply_to = message.reply_to and _address("reply_to", channel, message.reply_to, faults)
    if faults:
        raise InvalidError(faults)

    own_time = {"timestamp": message.timestamp.isoformat()} if message.timestamp else {}
    return Submission(
        channel=channel,
        agent=agent.name,
        profile=message.profile,
        recipient=recipient,
        sender=sender,
        cc=cc,
        bcc=bcc,
        reply_to=reply_to,
        subject=message.subject,
        body=message.body,
        html=message.html,
        headers=message.headers,
        payload=message.payload,
        metadata={**own_time, **message.metadata},
        attachments=files,
        priority=PRIORITIES[word] if isinstance(word := message.priority, str) else word,
        send_at=message.send_at,
        expires_at=message.expires_at,
        reference=message.reference,
    )


def _channel(message: MessageFields, default: Channel | None, faults: _Faults) -> Channel:
    if message.channel and message.type and message.channel != message.type:
        faults.add("type", f"says otherwise than channel, {message.channel}")
    channel = message.channel or message.type or default
    if channel is None:
        faults.add("channel", "needed")
        raise InvalidError(faults)
    return channel


def _address(
    field: str,
    channel: Channel,
    value: str,
    faults: _Faults,
    normalise: Callable[[str, str, str | None], str] = addresses.normalise,
) -> str:
    try:
        return normalise(channel, value, settings().phone_region)
    except ValueError as error:
        faults.add(field, error)
        return value


def _sender(channel: Channel, value: str, faults: _Faults) -> str:
    if channel != "email" and len(value) > MAX_SENDER:
        faults.add("from", f"longer than {MAX_SENDER} characters")
    return _address("from", channel, value, faults, addresses.normalise_sender)


def _check_content(channel: Channel, message: MessageFields, faults: _Faults) -> None:
    if channel != "email":
        for field in EMAIL_ONLY:
            if getattr(message, field):
                faults.add(field, "only an e-mail has it")
    if channel == "sms" and message.attachments:
        faults.add("attachments", "an SMS has none; an MMS may")
    content = {
        "sms": message.body,
        "mms": message.body or message.attachments,
        "email": message.body or message.html or message.attachments or message.payload,
        "push": message.body or message.payload,
        "payment": message.body or message.payload,
        "http": True,
    }
    if not content[channel]:
        faults.add("body", "there is nothing to send")


def _check_headers(channel: Channel, message: MessageFields, faults: _Faults) -> None:
    reserved = EMAIL_HEADERS if channel == "email" else RESERVED_HEADERS
    for name in message.headers:
        lower = name.lower()
        if lower in reserved or (channel == "email" and lower.startswith("content-")):
            faults.add(f"headers.{name}", "is not for the message to set")


def _check_times(message: MessageFields, faults: _Faults) -> None:
    moment = now()
    if message.send_at and message.send_at > moment + MAX_SEND_AHEAD:
        faults.add("send_at", "more than a year ahead")
    if message.expires_at and message.expires_at <= max(message.send_at or moment, moment):
        faults.add("expires_at", "must lie in the future, and after send_at")
    if message.expires_at and message.expires_at > moment + MAX_EXPIRY_AHEAD:
        faults.add("expires_at", "more than two years ahead")


def _attachments(
    given: list[Attachment], sources: frozenset[base.AttachmentSource], faults: _Faults
) -> list[base.Attachment]:
    files = []
    for number, attachment in enumerate(given):
        field = f"attachments[{number}]"
        source = "content" if isinstance(attachment, ContentAttachment) else "url"
        # What is behind an address can be fetched, and given as content.
        if not sources or (source == "content" and source not in sources):
            takes = " or ".join(sorted(sources)) or "none"
            faults.add(field, f"the agent takes no attachment by {source}; it takes: {takes}")
            continue
        try:
            files.append(_file(attachment, sources))
        except _FileError as error:
            faults.add(f"{field}.{error.field}" if error.field else field, error)
    limit = settings().attachment_limit_bytes
    if sum(len(file.content or b"") for file in files) > limit:
        faults.add("attachments", f"larger than {limit} bytes together")
    return files


class _FileError(ValueError):
    """What is wrong with a `field` of an attachment, or with all of one that has no fields."""

    def __init__(self, field: str | None, reason: object) -> None:
        super().__init__(reason)
        self.field = field


def _file(attachment: Attachment, sources: frozenset[base.AttachmentSource]) -> base.Attachment:
    if isinstance(attachment, ContentAttachment):
        return _file_of_content(attachment)
    link = LinkedAttachment(url=attachment) if isinstance(attachment, str) else attachment
    if link.sha256 and "content" not in sources:
        raise _FileError("sha256", "the provider fetches the file, and nobody would check it")
    try:
        name = link.filename or _last_part(link.url)
    except ValueError as error:  # no valid host
        raise _FileError(None if isinstance(attachment, str) else "url", error) from None
    return base.Attachment(
        name, link.content_type or UNKNOWN_TYPE, url=link.url, sha256=link.sha256
    )


def _file_of_content(attachment: ContentAttachment) -> base.Attachment:
    try:
        content = base64.b64decode(attachment.content, validate=True)
    except ValueError as error:
        raise _FileError("content", error) from None
    if attachment.sha256 and attachment.sha256.lower() != hashlib.sha256(content).hexdigest():
        raise _FileError("sha256", "the content has another")
    media_type = content_type(attachment.filename, attachment.content_type or "")
    return base.Attachment(
        attachment.filename, media_type, content=content, sha256=attachment.sha256
    )


def _last_part(url: str) -> str:
    path = url if url.startswith("s3://") else unquote(urlsplit(url).path)
    name = PurePosixPath(path).name
    return "".join(character for character in name if character.isprintable()) or "attachment"
