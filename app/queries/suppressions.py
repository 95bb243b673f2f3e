"""Read the suppression list."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection, select

from app import addresses
from app.fields import ONE_LINE
from app.models import Suppression
from app.queries.messages import spellings
from app.queries.pages import Paged, page_of
from app.suppression import Reason
from connectors.base import Channel


class SuppressionQuery(Paged):
    """Filters for suppressions."""

    channel: Channel | None = None
    address: Annotated[str, Field(min_length=1, max_length=512), ONE_LINE] | None = None
    reason: Reason | None = None


class SuppressionView(BaseModel):
    """A suppressed address and one reason for it."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    channel_family: str = Field(description="The channel; `phone` for SMS and MMS.")
    address: str = Field(description="For e-mail, the bare address in lower case.")
    reason: Reason
    detail: str | None = Field(description="The provider's error code, or a note by a person.")
    agent: str | None = Field(description="The agent whose provider reported it.")
    message_id: int | None = Field(description="The message that led to the suppression.")
    created_by: str = Field(description="The name of the token, or `postroom`.")
    created_at: datetime
    expires_at: datetime | None = Field(description="`null` if it does not expire.")


class SuppressionPage(BaseModel):
    """A page of suppressions, newest first."""

    suppressions: list[SuppressionView]
    next_cursor: str | None = Field(description="`null` on the last page.")


def list_suppressions(connection: Connection, query: SuppressionQuery) -> SuppressionPage:
    """Return one page of the suppressions that match, newest first.

    Raises:
        InvalidError: The cursor is not valid.
    """
    matching = select(Suppression.__table__)
    if query.channel is not None:
        family = addresses.family(query.channel)
        matching = matching.where(Suppression.channel_family == family)
    if query.address is not None:
        matching = matching.where(Suppression.address.in_(spellings(query.address)))
    if query.reason is not None:
        matching = matching.where(Suppression.reason == query.reason)
    rows, next_cursor = page_of(connection, matching, Suppression.id.expression, query)
    suppressions = [SuppressionView.model_validate(row) for row in rows]
    return SuppressionPage(suppressions=suppressions, next_cursor=next_cursor)
