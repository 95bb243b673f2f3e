"""What the sandbox received: kept in order of arrival, bounded in memory, counted exactly.

Each try of a client leaves a record with its outcome:

    accepted   taken and answered (at once or slowly)
    dropped    taken, but the connection was closed without an answer
    hung       read and never answered
    refused    answered with an error

`accepted` and `dropped` are what a provider would have delivered: only those count in `total`.
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
TAKEN = frozenset({"accepted", "dropped"})

TEXT_LIMIT_CHARACTERS = 4096
RECORDS_LIMIT = 200_000
MEMORY_LIMIT_BYTES = 128 * 1024 * 1024


def cut(text: str) -> str:
    """The part of a body that is kept."""
    return text[:TEXT_LIMIT_CHARACTERS]


@dataclass(frozen=True, slots=True)
class Record:
    """One try. `copy` is 1 for the first arrival of a message and 2, 3 … for those that came
    again; `details_json` holds the fields that only the provider's kind has."""

    seq: int
    kind: str
    outcome: Outcome
    received_at: datetime
    recipients: tuple[str, ...]
    key: str | None
    copy: int
    details_json: bytes

    def as_json(self) -> dict[str, Any]:
        """The record as `GET /received` shows it; times in ISO 8601, UTC."""
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
    """The records and their counts. For one event loop: it takes no lock."""

    def __init__(
        self, records_limit: int = RECORDS_LIMIT, memory_limit_bytes: int = MEMORY_LIMIT_BYTES
    ) -> None:
        self._records_limit = records_limit
        self._memory_limit_bytes = memory_limit_bytes
        self._last_seq = 0
        self.clear()

    def clear(self) -> None:
        """Forgets records and counts. Sequence numbers go on, so a reader's `after` stays true."""
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
        """Records one try. `key` tells copies of one message from other messages: the
        Idempotency-Key or the Message-ID; without one every arrival is a message of its own."""
        self._last_seq += 1
        copy = 1
        self._by_outcome[outcome] += 1
        if outcome in TAKEN:
            copy = self._count_copy(kind, key, recipients)
            self._by_kind[kind] += 1
            self._distinct += copy == 1
        details_json = json.dumps(details).encode()
        self._records.append(
            Record(
                self._last_seq,
                kind,
                outcome,
                datetime.now(UTC),
                recipients,
                key,
                copy,
                details_json,
            )
        )
        self._bytes += len(details_json)
        self._forget_oldest()

    def select(
        self,
        *,
        kind: str | None = None,
        to: str | None = None,
        outcomes: frozenset[str] = TAKEN,
        after: int = 0,
        limit: int = 1000,
    ) -> list[Record]:
        """The first `limit` records past sequence number `after` that match, oldest first."""
        wanted = to.casefold() if to is not None else None
        matching = (
            record
            for record in self._past(after)
            if record.outcome in outcomes
            and (kind is None or record.kind == kind)
            and (wanted is None or wanted in map(str.casefold, record.recipients))
        )
        return list(islice(matching, limit))

    def latest(self, limit: int) -> list[Record]:
        """The last `limit` records of any outcome, newest first."""
        return list(islice(reversed(self._records), limit))

    def counts(self) -> dict[str, Any]:
        """How many messages were taken, and how many different ones, since the last clear."""
        return {
            "total": self._by_kind.total(),
            "distinct": self._distinct,
            "by_kind": dict(self._by_kind),
            "by_outcome": dict(self._by_outcome),
        }

    def _past(self, after: int) -> Iterator[Record]:
        if not self._records:
            return iter(())
        return islice(self._records, max(0, after + 1 - self._records[0].seq), None)

    def _count_copy(self, kind: str, key: str | None, recipients: tuple[str, ...]) -> int:
        """Counts by recipient too: a mail that goes on to the recipients an earlier try missed
        carries the same Message-ID and is no copy."""
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

    def _forget_oldest(self) -> None:
        while len(self._records) > self._records_limit or self._bytes > self._memory_limit_bytes:
            self._bytes -= len(self._records.popleft().details_json)
