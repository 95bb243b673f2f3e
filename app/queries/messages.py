"""List messages and get one with its history."""

from contextlib import suppress
from typing import Annotated

from pydantic import Field
from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from app import addresses
from app.agents import Name
from app.errors import NotFoundError
from app.fields import ONE_LINE, Instant, Request
from app.models import Attachment, Attempt, Message, MessageEvent, Receipt
from app.outbox.states import Direction, Status
from app.queries.pages import Paged, page_of
from app.queries.views import (
    AttachmentView,
    AttemptView,
    EventView,
    MessageDetail,
    MessagePage,
    MessageSummary,
    ReceiptView,
    columns,
)
from app.settings import settings
from connectors.base import Channel

ATTACHMENT_COLUMNS = columns(
    AttachmentView, Attachment, size_bytes=func.octet_length(Attachment.content)
)

# Implied by the constraint `lease` of the table. Repeated, they let the planner use the partial
# indexes of the few open messages instead of scanning all the others.
LEASE_CONDITIONS = {
    "outbox": Message.lease_until.is_(None),
    "queued": Message.lease_until.is_not(None),
    "sending": Message.lease_until.is_not(None),
}


class Filter(Request):
    """Filters for messages. A message must match all of them."""

    channel: Channel | None = None
    agent: Name | None = None
    to: Annotated[str, Field(min_length=1, max_length=512), ONE_LINE] | None = Field(
        None, description="The recipient, in any notation."
    )
    reference: Annotated[str, Field(min_length=1, max_length=255), ONE_LINE] | None = None
    since: Instant | None = Field(None, description="Created at this time or later.")
    until: Instant | None = Field(None, description="Created before this time.")

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return the filters as SQL conditions."""
        found = [
            column == value
            for column, value in (
                (Message.channel, self.channel),
                (Message.agent, self.agent),
                (Message.reference, self.reference),
            )
            if value is not None
        ]
        if self.to is not None:
            found.append(Message.recipient.in_(spellings(self.to)))
        if self.since is not None:
            found.append(Message.created_at >= self.since)
        if self.until is not None:
            found.append(Message.created_at < self.until)
        return found


class MessageQuery(Filter, Paged):
    """Filters for messages, and the page to return."""

    status: list[Status] = Field([], max_length=20, description="Any of these; can be repeated.")
    direction: Direction | None = None


def list_messages(connection: Connection, query: MessageQuery) -> MessagePage:
    """Return a page of messages, newest first.

    Raises:
        InvalidError: The cursor is not valid.
    """
    conditions = query.conditions()
    if query.status:
        conditions.append(or_(*(_in_status(status) for status in set(query.status))))
    if query.direction is not None:
        conditions.append(Message.direction == query.direction)
    matching = select(*columns(MessageSummary, Message)).where(*conditions)
    rows, next_cursor = page_of(connection, matching, Message.id.expression, query)
    messages = [MessageSummary.model_validate(row) for row in rows]
    return MessagePage(messages=messages, next_cursor=next_cursor)


def get_message(connection: Connection, message_id: int) -> MessageDetail:
    """Return a message with its content and its history.

    Raises:
        NotFoundError: There is no such message.
    """
    message = (
        connection.execute(select(*columns(MessageDetail, Message)).where(Message.id == message_id))
        .mappings()
        .one_or_none()
    )
    if message is None:
        raise NotFoundError(f"There is no message {message_id}.")

    # The payload of receipts is left out: it may describe the devices of readers, or their cards.
    statements = {
        "attachments": select(*ATTACHMENT_COLUMNS)
        .where(Attachment.message_id == message_id)
        .order_by(Attachment.id),
        "events": select(*columns(EventView, MessageEvent))
        .where(MessageEvent.message_id == message_id)
        .order_by(MessageEvent.id),
        "attempt_log": select(*columns(AttemptView, Attempt))
        .where(Attempt.message_id == message_id)
        .order_by(Attempt.id),
        "receipts": select(*columns(ReceiptView, Receipt))
        .where(Receipt.message_id == message_id)
        .order_by(Receipt.id),
        "replies": select(*columns(MessageSummary, Message))
        .where(Message.parent_id == message_id)
        .order_by(Message.id),
    }
    related = {
        name: connection.execute(statement).mappings().all()
        for name, statement in statements.items()
    }
    return MessageDetail.model_validate({**message, **related})


def spellings(address: str) -> set[str]:
    """Return the forms in which an address may be stored.

    In a query string, a plus sign that was not escaped has become a space.
    """
    given = f"+{address[1:]}" if address.startswith(" ") else address
    found = {address, given}
    for channel in ("sms", "email"):
        with suppress(ValueError):
            normal = addresses.normalise(channel, given, settings().phone_region)
            found |= {normal, addresses.key(channel, normal)}
    return found


def _in_status(status: str) -> ColumnElement[bool]:
    matches = Message.status == status
    return and_(matches, LEASE_CONDITIONS[status]) if status in LEASE_CONDITIONS else matches
