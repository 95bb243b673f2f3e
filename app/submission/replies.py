"""Replies: what the caller leaves open is filled in from the conversation."""

import re
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Row, select

from app import addresses, conversations
from app.agents import agents
from app.errors import ConflictError, FieldError, InvalidError
from app.models import Message
from app.outbox.states import Direction
from app.queries.views import ConversationView
from app.settings import settings
from app.submission.schema import MessageFields, ReplyRequest
from app.submission.submission import Submission
from app.submission.validation import validate
from connectors.base import Channel
from connectors.toolkit.excerpts import printable

MAX_LINE = 998

# Narrower than RFC 5322, 3.6.4: an id must stay one word of ASCII in every header.
MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,250}>")


def validate_reply(
    connection: Connection, conversation: ConversationView, reply: ReplyRequest
) -> Submission:
    """Complete and validate a message to be sent in `conversation`.

    Raises:
        InvalidError: The message is not valid, or does not belong to the conversation.
        ConflictError: The conversation has nobody to reply to.
    """
    received = _last_message(connection, conversation.id, "inbound")
    sent = _last_message(connection, conversation.id, "outbound")
    answered = received or sent
    if answered is None:
        raise ConflictError("All messages of this conversation have been deleted.")

    channel = reply.channel or reply.type or _channel(answered, reply)
    recipient, sender = _participants(answered, sent, conversation)
    if reply.to is None:
        _check_reachable(channel, recipient)
    filled: dict[str, Any] = {
        "channel": channel,
        "to": reply.to or recipient,
        "from_": reply.from_ or sender,
    }
    if reply.agent is None:
        filled |= _agent_and_profile([row for row in (received, sent) if row], channel, reply)
    if channel == "email" and reply.subject is None:
        filled["subject"] = _subject(answered)
    if channel == "email" and received is not None:
        filled["headers"] = _thread_headers(received, reply) | reply.headers

    message = MessageFields.model_construct(**dict(reply) | filled)
    submission = validate(message, agents())
    if errors := [*_outside(submission, conversation)]:
        raise InvalidError(errors)
    return submission


def _last_message(
    connection: Connection, conversation_id: int, direction: Direction
) -> Row[Any] | None:
    return connection.execute(
        select(
            Message.direction,
            Message.channel,
            Message.agent,
            Message.profile,
            Message.sender,
            Message.recipient,
            Message.subject,
            Message.headers,
            Message.provider_message_id,
        )
        .where(Message.conversation_id == conversation_id, Message.direction == direction)
        .order_by(Message.id.desc())
        .limit(1)
    ).one_or_none()


def _channel(answered: Row[Any], reply: ReplyRequest) -> Channel:
    if answered.channel in addresses.PHONE_CHANNELS:
        return "mms" if reply.attachments else "sms"
    channel: Channel = answered.channel
    return channel


def _participants(
    answered: Row[Any], sent: Row[Any] | None, conversation: ConversationView
) -> tuple[str, str | None]:
    """Return the recipient and the sender of a reply.

    The sender is written as in our last message, so that its display name stays. There is none if
    a provider answered by itself: such a message is addressed to our agent, not to a participant.
    """
    if answered.direction == "outbound":
        recipient, sender = answered.recipient, answered.sender
    else:
        recipient, sender = answered.sender, answered.recipient
        if sent and sent.sender and _key(sent.sender, conversation) == _key(sender, conversation):
            sender = sent.sender
    if sender is not None and _key(sender, conversation) not in conversation.participants:
        sender = None
    return recipient, sender


def _agent_and_profile(
    rows: list[Row[Any]], channel: Channel, reply: ReplyRequest
) -> dict[str, str]:
    """Return the agent and profile of the first of these messages that can still be used.

    Empty if there is none: routing then chooses the agent.
    """
    for row in rows:
        agent = agents().by_name.get(row.agent)
        profile = reply.profile if "profile" in reply.model_fields_set else row.profile
        if agent and channel in agent.channels and profile in agent.profiles:
            return {"agent": agent.name, "profile": profile}
    return {}


def _subject(answered: Row[Any]) -> str | None:
    subject = printable(answered.subject or "")
    if subject and not subject.lower().startswith("re:"):
        subject = f"Re: {subject}"
    return subject[:MAX_LINE] or None


def _thread_headers(received: Row[Any], reply: ReplyRequest) -> dict[str, str]:
    """Return the headers that put an e-mail into the thread of `received` (RFC 5322, 3.6.4)."""
    headers = {name.lower(): str(value) for name, value in received.headers.items()}
    own = headers.get("message-id") or f"<{(received.provider_message_id or '').strip('<>')}>"
    if not (answered := MESSAGE_ID.findall(own)) or "@" not in answered[0]:
        return {}
    earlier = headers.get("references") or headers.get("in-reply-to") or ""
    references = [one for one in MESSAGE_ID.findall(earlier) if one != answered[0]] + answered[:1]
    while len(" ".join(references)) > MAX_LINE:
        del references[1]  # the first id names the thread, the last ones the place in it
    found = {"In-Reply-To": answered[0], "References": " ".join(references)}
    given = {name.lower() for name in reply.headers}
    return {name: value for name, value in found.items() if name.lower() not in given}


def _check_reachable(channel: Channel, address: str) -> None:
    try:
        addresses.normalise(channel, address, settings().phone_region)
    except ValueError as error:
        raise ConflictError(f"The last message came from {address}: {error}") from None


def _outside(submission: Submission, conversation: ConversationView) -> Iterator[FieldError]:
    """Yield the fields that would put the message into another conversation."""
    family, participants = conversations.key(
        submission.channel, submission.recipient, submission.sender
    )
    if family != conversation.channel_family:
        yield FieldError("channel", f"must be {conversation.channel_family} in this conversation")
    elif _key(submission.recipient, conversation) not in conversation.participants:
        yield FieldError("to", "must be a participant of this conversation")
    elif set(participants) != set(conversation.participants):
        yield FieldError("from", "must be the other participant of this conversation")


def _key(address: str, conversation: ConversationView) -> str:
    try:
        return addresses.key(conversation.channel_family, address)
    except ValueError:
        return address
