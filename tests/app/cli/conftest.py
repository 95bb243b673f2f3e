"""Run `postroom` against the database and the agents of a test."""

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Connection, text

from app.cli import main

Postroom = Callable[..., Result]
Insert = Callable[..., int]

PROGRAM = Path(sys.executable).with_name("postroom")
"""The installed command, for tests that need a process."""


@pytest.fixture
def postroom(environment: pytest.MonkeyPatch) -> Postroom:
    """Run `postroom` with arguments. Unexpected exceptions are raised."""

    def run(*arguments: object, input: str | None = None) -> Result:  # noqa: A002 - click's name
        result = CliRunner().invoke(
            main, [str(argument) for argument in arguments], input=input, prog_name="postroom"
        )
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture
def insert(connection: Connection) -> Insert:
    """Insert a message and return its id."""

    def insert(status: str = "outbox", **columns: object) -> int:
        ended = status not in {"outbox", "queued", "sending", "retry"}
        leased = status in {"queued", "sending"}
        given = {"channel": "sms", "agent": "gateway", "recipient": "+18045551234", **columns}
        names = ", ".join(given)
        values = ", ".join(f":{name}" for name in given)
        statement = text(
            f"INSERT INTO messages (status, conversation_id, finished_at, lease_until, {names})"
            f" VALUES (:status, NULL, CASE WHEN :ended THEN now() END,"
            f" CASE WHEN :leased THEN now() + interval '1 minute' END, {values}) RETURNING id"
        )
        row = connection.execute(
            statement, {"status": status, "ended": ended, "leased": leased} | given
        )
        return int(row.scalar_one())

    return insert


@pytest.fixture
def status_of(connection: Connection) -> Callable[[int], str]:
    """Return the status of a message."""

    def status_of(message_id: int) -> str:
        statement = text("SELECT status FROM messages WHERE id = :id")
        return str(connection.execute(statement, {"id": message_id}).scalar_one())

    return status_of


def check_exit_codes(
    postroom: Postroom, rows: Iterable[tuple[Sequence[object], int, str]]
) -> list[str]:
    """Return the rows of (arguments, exit code, text on stderr) that a command does not meet.

    These commands fail, so nothing may be on stdout.
    """
    failures = []
    for arguments, exit_code, stderr in rows:
        result = postroom(*arguments)
        if (result.exit_code, result.stdout) != (exit_code, "") or stderr not in result.stderr:
            failures.append(f"{arguments}: {result.exit_code} {result.stdout!r} {result.stderr!r}")
    return failures
