"""Runs `postroom` against the database and the agents of the test."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Connection, text

from app.cli import main

Postroom = Callable[..., Result]
Insert = Callable[..., int]

PROGRAM = Path(sys.executable).with_name("postroom")
"""For tests that need a process of its own."""


@pytest.fixture
def postroom(environment: pytest.MonkeyPatch) -> Postroom:
    """Run `postroom` with these words; anything it does not expect is raised."""

    def run(*words: object, input: str | None = None) -> Result:  # noqa: A002 - as click calls it
        result = CliRunner().invoke(
            main, [str(word) for word in words], input=input, prog_name="postroom"
        )
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture
def insert(connection: Connection) -> Insert:
    """Put a message into the table as it is said to be, and return its id."""

    def insert(status: str = "outbox", **columns: object) -> int:
        ended = status not in {"outbox", "queued", "sending", "retry"}
        held = status in {"queued", "sending"}
        given = {"channel": "sms", "agent": "gateway", "recipient": "+18045551234", **columns}
        names = ", ".join(given)
        values = ", ".join(f":{name}" for name in given)
        statement = text(
            f"INSERT INTO messages (status, conversation_id, finished_at, lease_until, {names})"
            f" VALUES (:status, NULL, CASE WHEN :ended THEN now() END,"
            f" CASE WHEN :held THEN now() + interval '1 minute' END, {values}) RETURNING id"
        )
        row = connection.execute(
            statement, {"status": status, "ended": ended, "held": held} | given
        )
        return int(row.scalar_one())

    return insert


@pytest.fixture
def status_of(connection: Connection) -> Callable[[int], str]:
    """The status of a message."""

    def status_of(message_id: int) -> str:
        statement = text("SELECT status FROM messages WHERE id = :id")
        return str(connection.execute(statement, {"id": message_id}).scalar_one())

    return status_of
