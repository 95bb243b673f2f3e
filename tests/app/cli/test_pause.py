"""`postroom pause` and `postroom resume`."""

from collections.abc import Callable

from sqlalchemy import Connection, text

from tests.app.cli.conftest import Insert, Postroom, check_exit_codes

AGENT = text("SELECT paused, reason, changed_by FROM agent_states WHERE agent = 'smtp'")
SCHEDULER = text("SELECT running, changed_by FROM scheduler_state")


def test_an_agent_is_paused_with_a_reason_and_resumed(
    postroom: Postroom, connection: Connection
) -> None:
    paused = postroom("pause", "smtp", "--reason", "maintenance")
    assert (paused.exit_code, paused.stderr) == (0, "")
    assert paused.stdout == "Agent smtp is paused. Sends in progress finish.\n"
    assert connection.execute(AGENT).one() == (True, "maintenance", "postroom command")
    resumed = postroom("resume", "smtp")
    assert (resumed.exit_code, resumed.stdout) == (0, "Agent smtp is running.\n")
    assert connection.execute(AGENT).one() == (False, None, "postroom command")


def test_without_an_agent_all_sending_is_paused_and_queued_messages_return(
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


def test_exit_codes(postroom: Postroom, database: str) -> None:
    unknown = "postroom: agent: there is no agent pigeon. Available agents: api, gateway"
    assert not check_exit_codes(
        postroom,
        [
            (("pause", "pigeon"), 3, unknown),
            (("resume", "pigeon"), 3, unknown),
            (("pause", "--reason", "why"), 2, "--reason needs an agent"),
            (("pause", "smtp", "gateway"), 2, "unexpected extra argument"),
        ],
    )
