"""Drives the outbox: messages in any state, and what became of them."""

import uuid
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, text

from app import conversations
from app.agents import Agents
from app.outbox import claim as claims
from app.outbox import settle as delivery
from app.outbox import store as accept
from app.outbox.claim import Claim
from app.outbox.settle import Outcome, Started
from app.submission.submission import Submission

LEASE = timedelta(seconds=60)
TOOK = timedelta(milliseconds=120)
SENT = Outcome(status="sent", result="accepted", code="202", provider_message_id="p-1")


class Outbox:
    """The outbox on one connection where each statement is its own transaction."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def execute(self, statement: str, **values: Any) -> Any:
        return self.connection.execute(text(statement), values)

    def accept(self, count: int = 1, **values: Any) -> list[int]:
        """Messages as the API accepts them."""
        submission = {
            "channel": "sms",
            "agent": "gateway",
            "recipient": "+4915112345678",
            "body": "hi",
        }
        kept = accept.accept(
            self.connection, [Submission(**{**submission, **values})] * count, "tests"
        )
        return [one.id for one in kept]

    def one(self, **values: Any) -> int:
        [number] = self.accept(**values)
        return number

    def insert(self, **values: Any) -> int:
        """A row written by SQL, as any other program may."""
        row = {"channel": "sms", "recipient": "+4915112345678", "body": "hi", **values}
        statement = (
            f"INSERT INTO messages ({', '.join(row)})"
            f" VALUES ({', '.join(f':{name}' for name in row)}) RETURNING id"
        )
        return int(self.execute(statement, **row).scalar_one())

    def at(self, number: int, status: str, *, attempts: int = 0, lease: str | None = None) -> int:
        """Put a message at a status, as it would be found there."""
        held = lease or ("1 minute" if status in {"queued", "sending"} else None)
        self.execute(
            "UPDATE messages SET status = :status, attempts = :attempts, claim = claim + 1,"
            " lease_until = now() + CAST(:held AS interval),"
            " finished_at = CASE WHEN :status IN ('outbox', 'queued', 'sending', 'retry')"
            "  THEN NULL ELSE now() END"
            " WHERE id = :id",
            id=number,
            status=status,
            attempts=attempts,
            held=held,
        )
        return number

    def move(self, number: int, **moments: str) -> None:
        """Set moments of a message, as intervals from now, e.g. `due_at="-1 minute"`."""
        for column, interval in moments.items():
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
        """The statuses that a message left and took, oldest first."""
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
        """How long from now until a moment of the message."""
        found = self.execute(
            f"SELECT extract(epoch FROM {column} - clock_timestamp()) FROM messages WHERE id = :id",
            id=number,
        ).scalar_one()
        return None if found is None else float(found)

    def claim(self, **rooms: int) -> list[Claim]:
        return claims.claim(self.connection, rooms or {"gateway": 100}, LEASE)

    def start(self, number: int, claim: int) -> Started | None:
        return delivery.start(self.connection, number, claim, LEASE)

    def started(self, **values: Any) -> tuple[Started, int]:
        """A message under way, and its claim."""
        number = self.one(**values)
        [claim] = [one for one in self.claim() if one.message_id == number]
        started = self.start(number, claim.number)
        assert started is not None
        return started, claim.number

    def settle(self, started: Started, claim: int, outcome: Outcome = SENT) -> bool:
        return delivery.settle(self.connection, started, claim, outcome, TOOK)

    def adopt(self, agents: Agents) -> None:
        accept.adopt(self.connection, agents)

    def conversation(self) -> int:
        [number] = conversations.thread(self.connection, [("test", (uuid.uuid4().hex,))]).values()
        return number
