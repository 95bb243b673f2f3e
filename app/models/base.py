"""What every table of Postroom has in common."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import BigInteger, DateTime, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    """Timestamps are aware and in UTC, texts are unbounded, ids are integers."""

    type_annotation_map: ClassVar = {
        datetime: DateTime(timezone=True),
        str: Text,
        int: BigInteger,
        dict[str, Any]: JSONB,
        list[str]: ARRAY(Text),
    }


def one_of(column: str, values: Iterable[str]) -> str:
    """Return the SQL condition that a column has one of the values."""
    return f"{column} IN ({', '.join(repr(value) for value in values)})"
