"""The suppression list: addresses that must not receive messages, each with its reasons.

An address has one entry for each reason, so that removing one keeps the others in force. The list
is checked when a message is submitted or routed, and again when sending starts.
"""

from collections.abc import Collection
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Self, get_args

from sqlalchemy import Connection, Row, delete, func, literal_column, text
from sqlalchemy.dialects.postgresql import insert

from app import addresses
from app.models import Suppression, SuppressionReason

Reason = SuppressionReason
Key = tuple[str, str]
"""A channel family and an address in the form of `addresses.key`."""

STRENGTH = {reason: rank for rank, reason in enumerate(get_args(Reason))}
"""The rank of each reason, 0 for the strongest."""

ERROR_CODE = "suppressed"
"""The error code of a message that failed because one of its addresses is suppressed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry of the suppression list.

    `agent` and `message_id` are those of the message that led to it, if any. `detail` is the
    provider's code or an operator's note.
    """

    id: int
    channel_family: str
    address: str
    reason: Reason
    detail: str | None
    agent: str | None
    message_id: int | None
    created_by: str
    created_at: datetime
    expires_at: datetime | None

    @classmethod
    def of(cls, row: Row[Any]) -> Self:
        """Return the entry of a row of the table."""
        return cls(**{field.name: row._mapping[field.name] for field in fields(cls)})

    def __str__(self) -> str:
        reason = f"{self.reason} ({self.detail})" if self.detail else self.reason
        until = f" until {self.expires_at:%Y-%m-%dT%H:%M:%SZ}" if self.expires_at else ""
        return (
            f"{self.address} has been suppressed since {self.created_at:%Y-%m-%dT%H:%M:%SZ}{until}:"
            f" {reason}. To send to it again, remove suppression {self.id}."
        )


def key(channel: str, address: str) -> Key:
    """Return the key of a normalised address.

    Raises:
        ValueError: the address is not valid on this channel.
    """
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
    expires_at: datetime | None = None,
) -> tuple[Entry, bool]:
    """Add an address to the suppression list.

    Returns its entry for this reason and whether that is new. An existing entry is not changed,
    unless it has expired.
    """
    family, address = key
    connection.execute(
        delete(Suppression).where(
            Suppression.channel_family == family,
            Suppression.address == address,
            Suppression.reason == reason,
            Suppression.expires_at <= func.now(),
        )
    )
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
            expires_at=expires_at,
        )
        # An update that changes nothing, so that the existing entry is returned.
        .on_conflict_do_update(
            index_elements=[Suppression.channel_family, Suppression.address, Suppression.reason],
            set_={"address": Suppression.address},
        )
        .returning(Suppression.__table__, literal_column("xmax = 0").label("is_new"))
    ).one()
    return Entry.of(row), row.is_new


def remove(connection: Connection, entry_id: int) -> Entry | None:
    """Remove an entry and return it, or None if it does not exist."""
    row = connection.execute(
        delete(Suppression).where(Suppression.id == entry_id).returning(Suppression.__table__)
    ).one_or_none()
    return None if row is None else Entry.of(row)


def remove_reason(connection: Connection, key: Key, reason: Reason) -> None:
    """Remove the entry of an address for one reason, if there is one."""
    family, address = key
    connection.execute(
        delete(Suppression).where(
            Suppression.channel_family == family,
            Suppression.address == address,
            Suppression.reason == reason,
        )
    )


FIND = text("""
SELECT suppressions.*
FROM unnest(CAST(:families AS text[]), CAST(:addresses AS text[])) AS wanted(family, address)
JOIN suppressions ON suppressions.channel_family = wanted.family
    AND suppressions.address = wanted.address
WHERE expires_at IS NULL OR expires_at > now()
""")


def find(connection: Connection, keys: Collection[Key]) -> dict[Key, Entry]:
    """Return the strongest entry for each of the keys that is on the list, in one statement."""
    if not keys:
        return {}
    families, wanted = zip(*keys, strict=True)
    rows = connection.execute(FIND, {"families": [*families], "addresses": [*wanted]})
    entries = sorted((Entry.of(row) for row in rows), key=_weakest_first)
    return {(entry.channel_family, entry.address): entry for entry in entries}


PURGE = text("""
DELETE FROM suppressions WHERE id = ANY(ARRAY(
    SELECT id FROM suppressions WHERE expires_at <= now() LIMIT 1000
))
""")


def purge(connection: Connection) -> int:
    """Delete up to 1,000 entries that have expired and return how many."""
    return connection.execute(PURGE).rowcount


def _weakest_first(entry: Entry) -> int:
    return -STRENGTH[entry.reason]
