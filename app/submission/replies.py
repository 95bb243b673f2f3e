"""Replies: what a message leaves open, its conversation fills in."""

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, Row, select

from app import addresses, conversations
from app.agents import agents
from app.api.accepting import read
from app.api.problems import FieldError, ProblemError, field_errors, invalid
from app.models import Message as MessageRow
from app.queries.views import ConversationView, Direction
from app.settings import settings
from app.submission.schema import MessageFields, ReplyRequest
from app.submission.submission import Submission
from app.submission.validation import Channel
from connectors.toolkit.http.replies import printable

MAX_LINE = 998
FILLED = frozenset({"to", "from", "channel", "agent", "subject"})

# Narrower than RFC 5322, 3.6.4, so that it stays one word of ASCII wherever it goes.
MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,250}>")


def reply_in(connection: Connection, conversation: ConversationView, body: Any) -> Submission:
    """The submission of a message in `conversation`, for a request with `body`. Raises ProblemError
    with all that is wrong with it, or 409 where nobody can be answered."""
    try:
        asked = ReplyRequest.model_validate(body)
    except ValidationError as error:
        raise invalid(field_errors(error)) from None
    received = _last(connection, conversation.id, "inbound")
    sent = _last(connection, conversation.id, "outbound")
    if (answered := received or sent) is None:
        raise ProblemError(HTTPStatus.CONFLICT, "all its messages are gone: answer to whom?")

    channel = asked.channel or asked.type or _channel(answered, asked)
    filled: dict[str, Any] = {
        "channel": channel,
        **_participants(answered, sent, conversation),
        **_agent([row for row in (received, sent) if row], channel, asked),
    }
    if asked.to is None:
        _check_reachable(channel, filled["to"])
    if channel == "email":
        filled["subject"] = _subject(answered)
    given = {name: value for name, value in body.items() if value is not None or name not in FILLED}
    message = filled | given
    if channel == "email" and received is not None:
        message["headers"] = _thread(received, asked) | asked.headers

    submission = read(MessageFields, message, None)
    if faults := [*_outside(submission, conversation)]:
        raise invalid(faults)
    return submission


def _last(connection: Connection, conversation_id: int, direction: Direction) -> Row[Any] | None:
    return connection.execute(
        select(
            MessageRow.direction,
            MessageRow.channel,
            MessageRow.agent,
            MessageRow.profile,
            MessageRow.sender,
            MessageRow.recipient,
            MessageRow.subject,
            MessageRow.headers,
            MessageRow.provider_message_id,
        )
        .where(MessageRow.conversation_id == conversation_id, MessageRow.direction == direction)
        .order_by(MessageRow.id.desc())
        .limit(1)
    ).one_or_none()


def _channel(answered: Row[Any], asked: ReplyRequest) -> Channel:
    if answered.channel in addresses.PHONE_CHANNELS:
        return "mms" if asked.attachments else "sms"
    channel: Channel = answered.channel
    return channel


def _participants(
    answered: Row[Any], sent: Row[Any] | None, conversation: ConversationView
) -> dict[str, str]:
    """Who writes to whom, under the name that we wrote by last. What a provider answered by itself
    is addressed to our agent, which is no participant."""
    if answered.direction == "outbound":
        to, sender = answered.recipient, answered.sender
    else:
        to, sender = answered.sender, answered.recipient
        if sent and sent.sender and _key(sent.sender, conversation) == _key(sender, conversation):
            sender = sent.sender
    found = {"to": to}
    if sender is not None and _key(sender, conversation) in conversation.participants:
        found["from"] = sender
    return found


def _agent(rows: list[Row[Any]], channel: Channel, asked: ReplyRequest) -> dict[str, str]:
    """The way by which one of these messages went, where it is still open; else routes decide."""
    if asked.agent is not None:
        return {}
    for row in rows:
        agent = agents().by_name.get(row.agent)
        profile = asked.profile if "profile" in asked.model_fields_set else row.profile
        if agent and channel in agent.channels and profile in agent.profiles:
            return {"agent": agent.name, "profile": profile}
    return {}


def _subject(answered: Row[Any]) -> str | None:
    subject = printable(answered.subject or "")
    if subject and not subject.lower().startswith("re:"):
        subject = f"Re: {subject}"
    return subject[:MAX_LINE] or None


def _thread(received: Row[Any], asked: ReplyRequest) -> dict[str, str]:
    """What puts an e-mail into the thread of the one that it answers (RFC 5322, 3.6.4)."""
    headers = {name.lower(): str(value) for name, value in received.headers.items()}
    own = headers.get("message-id") or f"<{(received.provider_message_id or '').strip('<>')}>"
    if not (answered := MESSAGE_ID.findall(own)) or "@" not in answered[0]:
        return {}
    earlier = headers.get("references") or headers.get("in-reply-to") or ""
    references = [one for one in MESSAGE_ID.findall(earlier) if one != answered[0]] + answered[:1]
    while len(" ".join(references)) > MAX_LINE:
        del references[1]  # the first names the thread, the last ones the place in it
    found = {"In-ReplyRequest-To": answered[0], "References": " ".join(references)}
    given = {name.lower() for name in asked.headers}
    return {name: value for name, value in found.items() if name.lower() not in given}


def _check_reachable(channel: Channel, address: str) -> None:
    try:
        addresses.normalise(channel, address, settings().phone_region)
    except ValueError as error:
        raise ProblemError(
            HTTPStatus.CONFLICT, f"{address} wrote last, and cannot be answered: {error}"
        ) from None


def _outside(submission: Submission, conversation: ConversationView) -> Iterator[FieldError]:
    """What of the submission would put it into another conversation."""
    family, participants = conversations.key(
        submission.channel, submission.recipient, submission.sender
    )
    if family != conversation.channel_family:
        yield FieldError(field="channel", reason=f"must be {conversation.channel_family} here")
    elif _key(submission.recipient, conversation) not in conversation.participants:
        yield FieldError(field="to", reason="takes no part in this conversation")
    elif set(participants) != set(conversation.participants):
        yield FieldError(field="from", reason="must be the other one in this conversation")


def _key(address: str, conversation: ConversationView) -> str:
    try:
        return addresses.key(conversation.channel_family, address)
    except ValueError:
        return address
