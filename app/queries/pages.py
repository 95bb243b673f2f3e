"""Long lists, page by page. Ids only grow, so what arrives meanwhile moves nothing on the pages
that follow.
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
    """Which page of a list."""

    limit: int = Field(50, ge=1, le=200)
    cursor: Annotated[str, Field(max_length=64), ONE_LINE] | None = Field(
        None, description="the `next_cursor` of the page before"
    )


def page_of(
    connection: Connection,
    rows: Select[*tuple[Any, ...]],
    number: ColumnElement[int],
    asked: Paged,
    *,
    oldest_first: bool = False,
) -> tuple[Sequence[RowMapping], str | None]:
    """The page of `rows` that is asked for, newest first unless `oldest_first`, and the cursor of
    the next, None at the end. `number` is their column `id`. Raises InvalidError where the cursor is
    not valid.
    """
    side: Side = "after" if oldest_first else "before"
    if asked.cursor is not None:
        last_id = _decoded(asked.cursor, side)
        rows = rows.where(number > last_id if oldest_first else number < last_id)
    order = number.asc() if oldest_first else number.desc()
    found = connection.execute(rows.order_by(order).limit(asked.limit + 1)).mappings().all()
    shown = found[: asked.limit]
    return shown, _encoded(shown[-1]["id"], side) if len(found) > len(shown) else None


def _encoded(last_id: int, side: Side) -> str:
    return base64.urlsafe_b64encode(f"{side} {last_id}".encode()).decode()


def _decoded(cursor: str, side: Side) -> int:
    with suppress(ValueError):
        plain = base64.b64decode(cursor.encode("ascii"), b"-_", validate=True).decode("ascii")
        if found := re.fullmatch(rf"{side} ([1-9][0-9]{{0,17}})", plain, re.ASCII):
            return int(found[1])
    raise InvalidError(
        [FieldError("cursor", "not a valid cursor. Use next_cursor from a previous response.")]
    )
