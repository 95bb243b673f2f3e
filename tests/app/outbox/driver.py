"""A driver for outbox tests: create messages in any state, act on them, read them back."""

import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, text

from app import conversations
from app.agents import Agents
from app.outbox import claim as claims
from app.outbox.claim import Claim
from app.outbox.outcome import Outcome
from app.outbox.route import route
from app.outbox.settle import Attempt, settle
from app.outbox.start import Started, reject_suppressed, start
from app.outbox.store import store
from app.submission.submission import Submission

LEASE = timedelta(seconds=60)
# Which claims still hold: status, lease, offset of the token, whether it does.
HOLDERS = [
    ("queued", "1 minute", 0, True),
    ("retry", "1 minute", 0, True),
    ("queued", "1 minute", -1, False),
    ("queued", "1 minute", 1, False),
    ("retry", None, 0, False),
    ("outbox", None, 0, False),
    ("sending", "1 minute", 0, False),
    ("cancelled", None, 0, False),
    ("sent", None, 0, False),
]
DURATION = timedelta(milliseconds=120)
SENT = Outcome(status="sent", result="accepted", code="202", provider_message_id="p-1")


class Outbox:
    """The outbox on one connection where each statement is its own transaction."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def execute(self, statement: str, **values: Any) -> Any:
        return self.connection.execute(text(statement), values)

    def store(self, count: int = 1, **values: Any) -> list[int]:
        """Store messages as the API does and return their ids."""
        fields = {"channel": "sms", "agent": "gateway", "recipient": "+4915112345678", "body": "hi"}
        stored = store(self.connection, [Submission(**{**fields, **values})] * count, "tests")
        return [one.id for one in stored]

    def one(self, **values: Any) -> int:
        [number] = self.store(**values)
        return number

    def insert(self, **values: Any) -> int:
        """Insert a row by SQL, as any other program may."""
        row = {"channel": "sms", "recipient": "+4915112345678", "body": "hi", **values}
        statement = (
            f"INSERT INTO messages ({', '.join(row)})"
            f" VALUES ({', '.join(f':{name}' for name in row)}) RETURNING id"
        )
        return int(self.execute(statement, **row).scalar_one())

    def at(self, number: int, status: str, *, attempts: int = 0, lease: str | None = None) -> int:
        """Set the status of a message, with the lease that belongs to it."""
        until = lease or ("1 minute" if status in {"queued", "sending"} else None)
        self.execute(
            "UPDATE messages SET status = :status, attempts = :attempts,"
            " claim_token = claim_token + 1, lease_until = now() + CAST(:lease AS interval),"
            " finished_at = CASE WHEN :status IN ('outbox', 'queued', 'sending', 'retry')"
            "  THEN NULL ELSE now() END"
            " WHERE id = :id",
            id=number,
            status=status,
            attempts=attempts,
            lease=until,
        )
        return number

    def move(self, number: int, **timestamps: str) -> None:
        """Set timestamps of a message as intervals from now, e.g. `due_at="-1 minute"`."""
        for column, interval in timestamps.items():
            self.execute(
                f"UPDATE messages SET {column} = now() + CAST(:interval AS interval)"
                " WHERE id = :id",
                id=number,
                interval=interval,
            )

    def row(self, number: int) -> Row[Any]:
        return self.execute("SELECT * FROM messages WHERE id = :id", id=number).one()

    def status(self, number: int) -> str:
        return str(self.row(number).status)

    def events(self, number: int) -> list[tuple[str | None, str]]:
        """Return the status changes of a message, oldest first."""
        rows = self.execute(
            "SELECT from_status, to_status FROM message_events WHERE message_id = :id ORDER BY id",
            id=number,
        )
        return [(row.from_status, row.to_status) for row in rows]

    def attempts(self, number: int) -> list[Row[Any]]:
        return list(
            self.execute("SELECT * FROM attempts WHERE message_id = :id ORDER BY id", id=number)
        )

    def seconds_until(self, number: int, column: str) -> float | None:
        """Return the seconds from now until a timestamp of the message."""
        found = self.execute(
            f"SELECT extract(epoch FROM {column} - clock_timestamp()) FROM messages WHERE id = :id",
            id=number,
        ).scalar_one()
        return None if found is None else float(found)

    def claim(self, **capacities: int) -> list[Claim]:
        return claims.claim(self.connection, capacities or {"gateway": 100}, LEASE)

    def start(self, number: int, token: int) -> Started | None:
        started = start(self.connection, [Claim(number, "gateway", token)], LEASE)
        return started[0] if started else None

    def started(self, **values: Any) -> tuple[Started, int]:
        """Return a message that is being sent, and its claim token."""
        number = self.one(**values)
        [claim] = [one for one in self.claim() if one.message_id == number]
        started = self.start(number, claim.token)
        assert started is not None
        return started, claim.token

    def reject_suppressed(self, number: int, token: int) -> bool:
        return bool(reject_suppressed(self.connection, [Claim(number, "gateway", token)]))

    def settle(self, started: Started, token: int, outcome: Outcome = SENT) -> bool:
        claim = replace(started.claim, token=token)
        retry_lease = LEASE if outcome.on_celery else None
        return bool(settle(self.connection, [Attempt(claim, outcome, DURATION, retry_lease)]))

    def route(self, agents: Agents) -> None:
        route(self.connection, agents)

    def conversation(self) -> int:
        key = ("test", (uuid.uuid4().hex,))
        return conversations.find_or_create(self.connection, [key])[key]
