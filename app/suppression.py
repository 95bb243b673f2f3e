"""The suppression list: addresses that are not written to any more, and why.

It is asked when a message is submitted or adopted, and once more when its sending begins.
"""

from collections.abc import Collection
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Self

from sqlalchemy import Connection, Row, delete, literal_column, text
from sqlalchemy.dialects.postgresql import insert

from app import addresses
from app.models import Suppression, SuppressionReason

Reason = SuppressionReason
Key = tuple[str, str]
"""What an address is known by: its channel family, and how it is compared in there."""

ERROR_CODE = "suppressed"
"""Of a message that failed since an address of it is on the list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An address on the list. `agent` and `message_id` say whose sending led to it, where one
    did; `detail` is the provider's code, or words of a person."""

    id: int
    channel_family: str
    address: str
    reason: Reason
    detail: str | None
    agent: str | None
    message_id: int | None
    created_by: str
    created_at: datetime

    @classmethod
    def of(cls, row: Row[Any]) -> Self:
        """The entry that is a row of the table."""
        return cls(**{field.name: row._mapping[field.name] for field in fields(cls)})

    def __str__(self) -> str:
        """Why nothing can be sent there, and what to do about it."""
        why = f"{self.reason} ({self.detail})" if self.detail else self.reason
        return (
            f"{self.address} is suppressed since {self.created_at:%Y-%m-%dT%H:%M:%SZ}: {why};"
            f" to write to it again, remove suppression {self.id}"
        )


def key(channel: str, address: str) -> Key:
    """The key of a normalised `address`. Raises ValueError where it is no address of `channel`."""
    return addresses.family(channel), addresses.key(channel, address)


def add(
    connection: Connection,
    key: Key,
    *,
    reason: Reason,
    by: str,
    detail: str | None = None,
    agent: str | None = None,
    message_id: int | None = None,
) -> tuple[Entry, bool]:
    """Write to this address no more. Returns its entry and whether it is new: the first one
    stays, whatever others say later."""
    family, address = key
    row = connection.execute(
        insert(Suppression)
        .values(
            channel_family=family,
            address=address,
            reason=reason,
            detail=detail,
            agent=agent,
            message_id=message_id,
            created_by=by,
        )
        # Changes nothing, but has the entry returned that is there already.
        .on_conflict_do_update(
            index_elements=[Suppression.channel_family, Suppression.address],
            set_={"address": Suppression.address},
        )
        .returning(Suppression.__table__, literal_column("xmax = 0").label("is_new"))
    ).one()
    return Entry.of(row), row.is_new


def remove(connection: Connection, entry_id: int) -> Entry | None:
    """Take an entry off the list, and return it; None where there is none."""
    row = connection.execute(
        delete(Suppression).where(Suppression.id == entry_id).returning(Suppression.__table__)
    ).one_or_none()
    return None if row is None else Entry.of(row)


FIND = text("""
SELECT suppressions.*
FROM unnest(CAST(:families AS text[]), CAST(:addresses AS text[])) AS asked(family, address)
JOIN suppressions ON suppressions.channel_family = asked.family
    AND suppressions.address = asked.address
""")


def find(connection: Connection, keys: Collection[Key]) -> dict[Key, Entry]:
    """Those of `keys` that are on the list. One statement; none where nothing is asked."""
    if not keys:
        return {}
    families, asked = zip(*keys, strict=True)
    rows = connection.execute(FIND, {"families": [*families], "addresses": [*asked]})
    entries = [Entry.of(row) for row in rows]
    return {(entry.channel_family, entry.address): entry for entry in entries}
