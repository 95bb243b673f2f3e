"""Turn a request into a submission, with every check that types cannot express."""

from collections.abc import Callable
from dataclasses import fields
from datetime import timedelta

from app import addresses
from app.agents import Agents, UnroutableError, choose_agent
from app.errors import FieldError, InvalidError
from app.fields import now
from app.models import PRIORITIES
from app.settings import settings
from app.submission.attachments import validate_attachments
from app.submission.schema import MessageFields
from app.submission.submission import Submission
from connectors.api.settings import MESSAGE_RESERVED_HEADERS
from connectors.base import Channel
from connectors.toolkit.mail.mime import is_reserved_header

MAX_SEND_AHEAD = timedelta(days=366)
MAX_SEND_BEHIND = timedelta(days=1)
MAX_EXPIRY_AHEAD = timedelta(days=732)
MAX_SENDER = 128
# 255 parts of 153 characters (3GPP TS 23.040, 9.2.3.24.1).
MAX_TEXT = 39_015
EMAIL_ONLY = ("html", "cc", "bcc", "reply_to")

SAME_FIELDS = {field.name for field in fields(Submission)} & MessageFields.model_fields.keys()


def validate(
    message: MessageFields, agents: Agents, *, default_channel: Channel | None = None
) -> Submission:
    """Return the submission for `message`.

    Args:
        message: The message as submitted.
        agents: The configured agents, one of which is chosen.
        default_channel: The channel of a message that does not name one.

    Raises:
        InvalidError: The message cannot be sent; the errors name every reason.
    """
    errors: list[FieldError] = []
    channel = _channel(message, default_channel, errors)
    recipient = _address("to", channel, message.to, errors)
    sender = _sender(channel, message.from_, errors) if message.from_ else None
    _check_content(channel, message, errors)
    _check_headers(channel, message, errors)
    _check_times(message, errors)

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
        errors.append(FieldError(error.field, str(error)))
        raise InvalidError(errors) from None
    sender = sender or agents.default_sender(agent.name, message.profile)
    if channel == "email" and sender is None:
        errors.append(
            FieldError("from", f"required: profile {message.profile} of {agent.name} has no sender")
        )
    attachments = validate_attachments(
        message.attachments or [],
        agents.connector(agent.name, message.profile).attachment_sources,
        errors,
    )
    cc = [_address(f"cc[{n}]", channel, one, errors) for n, one in enumerate(message.cc)]
    bcc = [_address(f"bcc[{n}]", channel, one, errors) for n, one in enumerate(message.bcc)]
    reply_to = message.reply_to and _address("reply_to", channel, message.reply_to, errors)
    if errors:
        raise InvalidError(errors)

    metadata = {**message.metadata}
    if message.timestamp:
        metadata.setdefault("timestamp", message.timestamp.isoformat())
    priority = message.priority
    checked = {
        "channel": channel,
        "agent": agent.name,
        "recipient": recipient,
        "sender": sender,
        "cc": cc,
        "bcc": bcc,
        "reply_to": reply_to,
        "attachments": attachments,
        "metadata": metadata,
        "priority": PRIORITIES[priority] if isinstance(priority, str) else priority,
    }
    return Submission(**{name: getattr(message, name) for name in SAME_FIELDS} | checked)


def _channel(message: MessageFields, default: Channel | None, errors: list[FieldError]) -> Channel:
    if message.channel and message.type and message.channel != message.type:
        errors.append(FieldError("type", f"must equal channel ({message.channel}), or be left out"))
    channel = message.channel or message.type or default
    if channel is None:
        errors.append(FieldError("channel", "required"))
        raise InvalidError(errors)
    return channel


def _address(
    field: str,
    channel: Channel,
    value: str,
    errors: list[FieldError],
    normalise: Callable[[str, str, str | None], str] = addresses.normalise,
) -> str:
    try:
        return normalise(channel, value, settings().phone_region)
    except ValueError as error:
        errors.append(FieldError(field, str(error)))
        return value


def _sender(channel: Channel, value: str, errors: list[FieldError]) -> str:
    if channel != "email" and len(value) > MAX_SENDER:
        errors.append(FieldError("from", f"must not be longer than {MAX_SENDER} characters"))
    return _address("from", channel, value, errors, addresses.normalise_sender)


def _check_content(channel: Channel, message: MessageFields, errors: list[FieldError]) -> None:
    if channel != "email":
        errors += [
            FieldError(field, "only supported for e-mail")
            for field in EMAIL_ONLY
            if getattr(message, field)
        ]
    if channel in addresses.PHONE_CHANNELS and len(message.body) > MAX_TEXT:
        errors.append(FieldError("body", f"must not be longer than {MAX_TEXT} characters"))
    if channel == "sms" and message.attachments:
        errors.append(FieldError("attachments", "not supported for SMS. Use the channel mms."))
    content = {
        "sms": message.body,
        "mms": message.body or message.attachments,
        "email": message.body or message.html or message.attachments or message.payload,
        "push": message.body or message.payload,
        "payment": message.body or message.payload,
        "http": True,
    }
    if not content[channel]:
        errors.append(FieldError("body", "required: the message has no content"))


def _check_headers(channel: Channel, message: MessageFields, errors: list[FieldError]) -> None:
    for name in message.headers:
        if channel == "email":
            is_reserved = is_reserved_header(name)
        else:
            is_reserved = name.lower() in MESSAGE_RESERVED_HEADERS
        if is_reserved:
            errors.append(FieldError(f"headers.{name}", "reserved: this header cannot be set"))


def _check_times(message: MessageFields, errors: list[FieldError]) -> None:
    current = now()
    if message.send_at and message.send_at > current + MAX_SEND_AHEAD:
        errors.append(FieldError("send_at", "must be at most a year ahead"))
    if message.send_at and message.send_at < current - MAX_SEND_BEHIND:
        reason = "must not be more than a day in the past. Leave it out to send at once."
        errors.append(FieldError("send_at", reason))
    if message.expires_at and message.expires_at <= max(message.send_at or current, current):
        errors.append(FieldError("expires_at", "must be in the future, and after send_at"))
    if message.expires_at and message.expires_at > current + MAX_EXPIRY_AHEAD:
        errors.append(FieldError("expires_at", "must be at most two years ahead"))
