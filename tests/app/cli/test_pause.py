"""`postroom pause` and `postroom resume`."""

from collections.abc import Callable

import pytest
from sqlalchemy import Connection, text

from tests.app.cli.conftest import Insert, Postroom

AGENT = text("SELECT paused, reason, changed_by FROM agent_states WHERE agent = 'smtp'")
SCHEDULER = text("SELECT running, changed_by FROM scheduler_state")


def test_an_agent_is_paused_with_a_reason_and_resumed(
    postroom: Postroom, connection: Connection
) -> None:
    paused = postroom("pause", "smtp", "--reason", "moving house")
    assert (paused.exit_code, paused.stderr) == (0, "")
    assert paused.stdout == "Agent smtp is paused; sends under way end by themselves.\n"
    assert connection.execute(AGENT).one() == (True, "moving house", "postroom command")
    resumed = postroom("resume", "smtp")
    assert (resumed.exit_code, resumed.stdout) == (0, "Agent smtp is running.\n")
    assert connection.execute(AGENT).one() == (False, None, "postroom command")


def test_without_an_agent_everything_is_paused_and_queued_messages_are_called_back(
    postroom: Postroom,
    connection: Connection,
    insert: Insert,
    status_of: Callable[[int], str],
) -> None:
    queued = insert("queued")
    assert postroom("pause").stdout.startswith("The scheduler is paused")
    assert connection.execute(SCHEDULER).one() == (False, "postroom command")
    assert status_of(queued) == "outbox"
    assert postroom("resume").stdout == "The scheduler is running.\n"
    assert connection.execute(SCHEDULER).one() == (True, "postroom command")


@pytest.mark.parametrize(
    ("words", "exit_code", "stderr"),
    [
        (("pause", "pigeon"), 3, "postroom: there is no agent pigeon; there are: api, gateway"),
        (("resume", "pigeon"), 3, "postroom: there is no agent pigeon; there are: api, gateway"),
        (("pause", "--reason", "why"), 2, "--reason goes with an agent"),
        (("pause", "smtp", "gateway"), 2, "unexpected extra argument"),
    ],
)
def test_exit_codes(
    postroom: Postroom, database: str, words: tuple[str, ...], exit_code: int, stderr: str
) -> None:
    result = postroom(*words)
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert stderr in result.stderr
