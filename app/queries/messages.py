"""Which messages there are, and everything about one of them."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from app import addresses
from app.errors import NotFoundError
from app.fields import ONE_LINE, Code, Instant, Request
from app.models import Attachment, Attempt, Message, MessageEvent, Receipt
from app.queries.pages import Paged, page_of
from app.queries.views import Direction, MessageDetail, MessagePage, MessageSummary, Status
from app.settings import settings
from connectors.base import Channel

SUMMARY = (
    Message.id,
    Message.direction,
    Message.channel,
    Message.agent,
    Message.profile,
    Message.status,
    Message.reason,
    Message.priority,
    Message.sender.label("from"),
    Message.recipient.label("to"),
    Message.reference,
    Message.submitted_by,
    Message.conversation_id,
    Message.parent_id,
    Message.created_at,
    Message.due_at,
    Message.expires_at,
    Message.sent_at,
    Message.finished_at,
    Message.attempts.label("tries"),
    Message.provider_message_id,
    Message.error_code,
)
CONTENT = (
    Message.uid,
    Message.subject,
    Message.body,
    Message.html,
    Message.cc,
    Message.bcc,
    Message.reply_to,
    Message.headers,
    Message.payload,
    Message.metadata_.label("metadata"),
    Message.refused,
)
FILE = (
    Attachment.id,
    Attachment.name.label("filename"),
    Attachment.content_type,
    Attachment.url,
    Attachment.sha256,
    func.octet_length(Attachment.content).label("size_bytes"),
)

# The table's constraint `lease` says the same. Said again, it lets the planner take the partial
# indexes of the few messages under way, instead of walking past all the others.
IMPLIED = {
    "outbox": Message.lease_until.is_(None),
    "queued": Message.lease_until.is_not(None),
    "sending": Message.lease_until.is_not(None),
}


class Filter(Request):
    """Conditions that a message must all meet."""

    channel: Channel | None = None
    agent: Code | None = None
    recipient: Annotated[str, Field(min_length=1, max_length=512), ONE_LINE] | None = None
    reference: Annotated[str, Field(min_length=1, max_length=255), ONE_LINE] | None = None
    created_from: Instant | None = None
    created_to: Instant | None = Field(None, description="up to, but not including")

    def conditions(self) -> list[ColumnElement[bool]]:
        """The same in SQL."""
        found = [
            column == value
            for column, value in (
                (Message.channel, self.channel),
                (Message.agent, self.agent),
                (Message.reference, self.reference),
            )
            if value is not None
        ]
        if self.recipient is not None:
            found.append(Message.recipient.in_(spellings(self.recipient)))
        if self.created_from is not None:
            found.append(Message.created_at >= self.created_from)
        if self.created_to is not None:
            found.append(Message.created_at < self.created_to)
        return found


class MessageQuery(Filter, Paged):
    """Which messages to list, and where to go on."""

    status: list[Status] = Field([], max_length=20, description="any of these")
    direction: Direction | None = None


def list_messages(connection: Connection, query: MessageQuery) -> MessagePage:
    """One page of messages. Raises InvalidError where the cursor is not valid."""
    conditions = query.conditions()
    if query.status:
        conditions.append(or_(*(_in_status(status) for status in set(query.status))))
    if query.direction is not None:
        conditions.append(Message.direction == query.direction)
    matching = select(*SUMMARY).where(*conditions)
    rows, next_cursor = page_of(connection, matching, Message.id.expression, query)
    messages = [MessageSummary.model_validate(row) for row in rows]
    return MessagePage(messages=messages, next_cursor=next_cursor)


def get_message(connection: Connection, message_id: int) -> MessageDetail:
    """Return a message with its content and its history.

    Raises:
        NotFoundError: There is no such message.
    """
    message = (
        connection.execute(select(*SUMMARY, *CONTENT).where(Message.id == message_id))
        .mappings()
        .one_or_none()
    )
    if message is None:
        raise NotFoundError(f"There is no message {message_id}.")
    replies = select(*SUMMARY).where(Message.parent_id == message_id).order_by(Message.id)
    attachments = select(*FILE).where(Attachment.message_id == message_id).order_by(Attachment.id)
    events = (
        select(
            MessageEvent.from_status,
            MessageEvent.to_status,
            MessageEvent.reason,
            MessageEvent.happened_at,
        )
        .where(MessageEvent.message_id == message_id)
        .order_by(MessageEvent.id)
    )
    attempts = (
        select(
            Attempt.agent,
            Attempt.outcome,
            Attempt.code,
            Attempt.detail,
            Attempt.duration_ms,
            Attempt.finished_at,
        )
        .where(Attempt.message_id == message_id)
        .order_by(Attempt.id)
    )
    # Not what else the provider sent: that may tell of readers' devices, or of their cards.
    receipts = (
        select(
            Receipt.kind,
            Receipt.code,
            Receipt.detail,
            Receipt.recipient,
            Receipt.provider_message_id,
            Receipt.occurred_at,
            Receipt.received_at,
        )
        .where(Receipt.message_id == message_id)
        .order_by(Receipt.id)
    )
    parts: Mapping[str, Any] = {
        name: connection.execute(statement).mappings().all()
        for name, statement in (
            ("attachments", attachments),
            ("events", events),
            ("attempts", attempts),
            ("receipts", receipts),
            ("replies", replies),
        )
    }
    return MessageDetail.model_validate({**message, **parts})


def _in_status(status: str) -> ColumnElement[bool]:
    same = Message.status == status
    return and_(same, IMPLIED[status]) if status in IMPLIED else same


def spellings(address: str) -> set[str]:
    """How an address that is written like this may be kept. In a query, a plus sign that was
    not escaped has become a space.
    """
    given = f"+{address[1:]}" if address.startswith(" ") else address
    found = {address, given}
    for channel in ("sms", "email"):
        with suppress(ValueError):
            normal = addresses.normalise(channel, given, settings().phone_region)
            found |= {normal, addresses.key(channel, normal)}
    return found
