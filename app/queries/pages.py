"""Pages of long lists.

Pages follow ids, which only grow, so rows that arrive meanwhile do not shift the next pages.
"""

import base64
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal

from pydantic import Field
from sqlalchemy import ColumnElement, Connection, RowMapping, Select

from app.errors import FieldError, InvalidError
from app.fields import ONE_LINE, Request

Side = Literal["after", "before"]


class Paged(Request):
    """The page of a list to return."""

    limit: int = Field(50, ge=1, le=200, description="Maximum number of items.")
    cursor: Annotated[str, Field(min_length=1, max_length=64), ONE_LINE] | None = Field(
        None, description="`next_cursor` of the previous page."
    )


def page_of(
    connection: Connection,
    rows: Select[*tuple[Any, ...]],
    id_column: ColumnElement[int],
    query: Paged,
    *,
    oldest_first: bool = False,
) -> tuple[Sequence[RowMapping], str | None]:
    """Return a page of `rows` and the cursor of the next page, which is None on the last one.

    Args:
        connection: Where to run the query.
        rows: The query; one of its columns is `id`.
        id_column: The column `id` to order and page by.
        query: The page to return.
        oldest_first: Order by ascending instead of descending id.

    Raises:
        InvalidError: The cursor is not valid.
    """
    side: Side = "after" if oldest_first else "before"
    if query.cursor is not None:
        last_id = _decode(query.cursor, side)
        rows = rows.where(id_column > last_id if oldest_first else id_column < last_id)
    order = id_column.asc() if oldest_first else id_column.desc()
    found = connection.execute(rows.order_by(order).limit(query.limit + 1)).mappings().all()
    shown = found[: query.limit]
    return shown, _encode(shown[-1]["id"], side) if len(found) > len(shown) else None


def _encode(last_id: int, side: Side) -> str:
    return base64.urlsafe_b64encode(f"{side} {last_id}".encode()).decode()


def _decode(cursor: str, side: Side) -> int:
    with suppress(ValueError):
        plain = base64.b64decode(cursor.encode("ascii"), b"-_", validate=True).decode("ascii")
        if found := re.fullmatch(rf"{side} ([1-9][0-9]{{0,17}})", plain, re.ASCII):
            return int(found[1])
    raise InvalidError(
        [FieldError("cursor", "not a valid cursor. Use next_cursor from a previous response.")]
    )
