"""Received messages: recorded in order of arrival, limited in memory, counted exactly.

Each attempt is recorded with its outcome:

    accepted   accepted with a response (at once or slowly)
    dropped    accepted, but the connection was closed without a response
    hung       read and never responded to
    refused    responded to with an error

A real provider would have delivered the accepted and the dropped ones: only they count in `total`.
"""

import hashlib
import json
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Literal, get_args

Outcome = Literal["accepted", "dropped", "hung", "refused"]
OUTCOMES: tuple[str, ...] = get_args(Outcome)
DELIVERED = frozenset({"accepted", "dropped"})

MAX_TEXT_CHARACTERS = 4096
MAX_RECORDS = 200_000
MAX_MEMORY_BYTES = 128 * 1024 * 1024


def truncate(text: str) -> str:
    """Return the part of a text that is recorded."""
    return text[:MAX_TEXT_CHARACTERS]


@dataclass(slots=True)
class Record:
    """One attempt.

    `copy` is 1 for the first arrival of a message and 2, 3 … for repeated ones. `details_json`
    holds the fields that depend on the kind of provider.
    """

    seq: int
    kind: str
    outcome: Outcome
    received_at: datetime
    recipients: tuple[str, ...]
    key: str | None
    copy: int
    details_json: bytes

    def as_json(self) -> dict[str, Any]:
        """Return the record as `GET /received` shows it; times in ISO 8601, UTC."""
        return {
            "seq": self.seq,
            "kind": self.kind,
            "outcome": self.outcome,
            "received_at": self.received_at.isoformat(),
            "key": self.key,
            "copy": self.copy,
            **json.loads(self.details_json),
        }


class Received:
    """The records and their counts. Not thread-safe."""

    def __init__(
        self, max_records: int = MAX_RECORDS, max_memory_bytes: int = MAX_MEMORY_BYTES
    ) -> None:
        self._max_records = max_records
        self._max_memory_bytes = max_memory_bytes
        self._last_seq = 0
        self.clear()

    def clear(self) -> None:
        """Delete all records and counts. Sequence numbers continue, so `after` stays valid."""
        self._records: deque[Record] = deque()
        self._bytes = 0
        self._copies: dict[bytes, int] = {}
        self._distinct = 0
        self._by_kind: Counter[str] = Counter()
        self._by_outcome: Counter[str] = Counter()

    def add(
        self,
        kind: str,
        outcome: Outcome,
        recipients: tuple[str, ...],
        key: str | None,
        details: Mapping[str, Any],
    ) -> None:
        """Record one attempt.

        `key`, the Idempotency-Key or the Message-ID, identifies copies of a message. Without it,
        every arrival counts as a message of its own.
        """
        self._last_seq += 1
        copy = 1
        self._by_outcome[outcome] += 1
        if outcome in DELIVERED:
            copy = self._count_copy(kind, key, recipients)
            self._by_kind[kind] += 1
            self._distinct += copy == 1
        details_json = json.dumps(details).encode()
        now = datetime.now(UTC)
        self._records.append(
            Record(self._last_seq, kind, outcome, now, recipients, key, copy, details_json)
        )
        self._bytes += len(details_json)
        self._drop_oldest()

    def select(
        self,
        *,
        kind: str | None = None,
        to: str | None = None,
        outcomes: frozenset[str] = DELIVERED,
        after: int = 0,
        limit: int = 1000,
    ) -> list[Record]:
        """Return the first `limit` matching records after sequence number `after`, oldest first."""
        wanted = to.casefold() if to is not None else None
        matching = (
            record
            for record in self._after(after)
            if record.outcome in outcomes
            and (kind is None or record.kind == kind)
            and (wanted is None or wanted in map(str.casefold, record.recipients))
        )
        return list(islice(matching, limit))

    def latest(self, limit: int) -> list[Record]:
        """Return the last `limit` records of any outcome, newest first."""
        return list(islice(reversed(self._records), limit))

    def counts(self) -> dict[str, Any]:
        """Return how many messages were delivered since the last clear, in total and distinct."""
        return {
            "total": self._by_kind.total(),
            "distinct": self._distinct,
            "by_kind": dict(self._by_kind),
            "by_outcome": dict(self._by_outcome),
        }

    def _after(self, after: int) -> Iterator[Record]:
        if not self._records:
            return iter(())
        return islice(self._records, max(0, after + 1 - self._records[0].seq), None)

    def _count_copy(self, kind: str, key: str | None, recipients: tuple[str, ...]) -> int:
        """Count per recipient: a mail sent again only to recipients refused before is no copy."""
        if key is None:
            return 1
        copy = 1
        for recipient in recipients:
            identity = hashlib.blake2b(
                "\0".join((kind, key, recipient)).encode(errors="replace"), digest_size=16
            ).digest()
            arrivals = self._copies.get(identity, 0) + 1
            self._copies[identity] = arrivals
            copy = max(copy, arrivals)
        return copy

    def _drop_oldest(self) -> None:
        while len(self._records) > self._max_records or self._bytes > self._max_memory_bytes:
            self._bytes -= len(self._records.popleft().details_json)
