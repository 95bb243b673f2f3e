"""The suppression list: which addresses are not written to any more, and steering that by hand."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection, select

from app import addresses, db, suppression
from app.api import security
from app.api.operations import Answer, Operation, Section
from app.api.problems import FieldError, ProblemError, invalid
from app.fields import ONE_LINE
from app.models import Suppression
from app.queries.messages import spellings
from app.queries.pages import Paged, page_of
from app.settings import settings
from app.submission.schema import Recipient, Request
from app.suppression import Reason
from connectors.base import Channel

section = Section("suppressions")


class SuppressionRequest(Request):
    """An address that is not to be written to any more."""

    channel: Channel = Field(description="sms and mms share their addresses")
    address: Recipient = Field(description="as in a message's `to`")
    reason: Reason = "manual"
    detail: Annotated[str, Field(max_length=500), ONE_LINE] | None = None


class SuppressionQuery(Paged):
    """Which entries to list."""

    channel: Channel | None = None
    address: Annotated[str, Field(min_length=1, max_length=512), ONE_LINE] | None = None
    reason: Reason | None = None


class SuppressionView(BaseModel):
    """An address that is not written to."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    channel_family: str = Field(description="the channel; of sms and mms `phone`")
    address: str = Field(description="of an e-mail the bare address, in lower case")
    reason: Reason
    detail: str | None = Field(description="the provider's code, or words of a person")
    agent: str | None = Field(description="whose provider said so")
    message_id: int | None = Field(description="the message that met it")
    created_by: str = Field(description="the name of the token, or `postroom` by itself")
    created_at: datetime


class SuppressionPage(BaseModel):
    """Entries, newest first."""

    suppressions: list[SuppressionView]
    next_cursor: str | None = Field(description="null at the end")


@section.serve(
    Operation(
        "GET",
        "/api/suppressions",
        {HTTPStatus.OK: SuppressionPage},
        scope="read",
        query=SuppressionQuery,
    )
)
def list_suppressions(query: SuppressionQuery) -> SuppressionPage:
    """List the addresses that are not written to, newest first."""
    with db.autocommit() as connection:
        return page(connection, query)


@section.serve(
    Operation(
        "POST",
        "/api/suppressions",
        {HTTPStatus.CREATED: SuppressionView, HTTPStatus.OK: SuppressionView},
        scope="operate",
        body=SuppressionRequest,
    )
)
def add_suppression(body: SuppressionRequest) -> Answer:
    """Write to an address no more.

    Messages to it are refused, and those that wait for it will fail. 200 says that it is on the
    list already, and shows that entry, which stays as it is.
    """
    with db.autocommit() as connection:
        entry, is_new = add(connection, body, by=security.client().name)
    status = HTTPStatus.CREATED if is_new else HTTPStatus.OK
    return Answer(SuppressionView.model_validate(entry), status)


@section.serve(
    Operation(
        "DELETE",
        "/api/suppressions/<id:suppression_id>",
        {HTTPStatus.OK: SuppressionView},
        scope="operate",
    )
)
def remove_suppression(suppression_id: int) -> SuppressionView:
    """Take an address off the list, and show its entry once more.

    Messages that failed on it can be replayed then.
    """
    with db.autocommit() as connection:
        entry = suppression.remove(connection, suppression_id)
    if entry is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, f"there is no suppression {suppression_id}")
    return SuppressionView.model_validate(entry)


def page(connection: Connection, query: SuppressionQuery) -> SuppressionPage:
    """One page of entries. Raises ProblemError for a cursor that is none of ours."""
    matching = select(Suppression.__table__)
    if query.channel is not None:
        family = addresses.family(query.channel)
        matching = matching.where(Suppression.channel_family == family)
    if query.address is not None:
        matching = matching.where(Suppression.address.in_(spellings(query.address)))
    if query.reason is not None:
        matching = matching.where(Suppression.reason == query.reason)
    rows, next_cursor = page_of(connection, matching, Suppression.id.expression, query)
    entries = [SuppressionView.model_validate(row) for row in rows]
    return SuppressionPage(suppressions=entries, next_cursor=next_cursor)


def add(
    connection: Connection, asked: SuppressionRequest, *, by: str
) -> tuple[suppression.Entry, bool]:
    """The entry of the address, and whether it is new. Raises ProblemError where it is none."""
    try:
        normal = addresses.normalise(asked.channel, asked.address, settings().phone_region)
    except ValueError as error:
        raise invalid([FieldError(field="address", reason=str(error))]) from None
    return suppression.add(
        connection,
        suppression.key(asked.channel, normal),
        reason=asked.reason,
        by=by,
        detail=asked.detail,
    )
