"""`postroom status`."""

import json
import os
import pty
import signal
import subprocess

import pytest
from sqlalchemy import Connection, text

from tests.app.cli.conftest import PROGRAM, Insert, Postroom


@pytest.fixture
def some_of_each(connection: Connection, insert: Insert) -> None:
    """Messages in every status; at gateway, two wait and one of them has been due for 90 s."""
    insert("outbox", due_at="2099-01-01T00:00:00Z")
    connection.execute(
        text("UPDATE messages SET due_at = now() - interval '90 s' WHERE id = :id"),
        {"id": insert("retry")},
    )
    insert("queued")
    insert("sending")
    insert("sent")
    insert("delivered")
    for status in ("failed", "unknown", "bounced", "cancelled", "expired"):
        insert(status)
    connection.execute(
        text("UPDATE messages SET finished_at = now() - interval '25 h' WHERE id IN (:a, :b)"),
        {"a": insert("sent"), "b": insert("failed")},
    )
    insert("outbox", agent="gone")
    insert("outbox", agent=None)


@pytest.mark.usefixtures("some_of_each")
def test_json_shows_the_scheduler_and_each_agent(postroom: Postroom) -> None:
    postroom("pause", "smtp", "--reason", "maintenance")
    result = postroom("status", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    answer = json.loads(result.stdout)
    scheduler = answer["scheduler"]
    assert scheduler.pop("changed_at")
    assert scheduler == {
        "running": True,
        "changed_by": None,
        "last_scan_at": None,
        "last_scan_age_seconds": None,
        "unrouted": 3,
        "unparsed": 0,
    }
    agents = {agent["agent"]: agent for agent in answer["agents"]}
    assert [*agents] == ["api", "gateway", "gone", "smtp"]
    assert 90 <= agents["gateway"].pop("oldest_due_age_seconds") < 190
    assert agents["gateway"] == {
        "agent": "gateway", "configured": True, "waiting": 2, "in_flight": 2,
        "sent_last_hour": 2, "failed_last_day": 1, "unknown_last_day": 1,
        "bounced_last_day": 1, "expired_last_day": 1, "paused": False, "reason": None,
    }  # fmt: skip
    assert (agents["gone"]["configured"], agents["gone"]["waiting"]) == (False, 1)
    assert (agents["smtp"]["paused"], agents["smtp"]["reason"]) == (True, "maintenance")
    assert agents["api"]["oldest_due_age_seconds"] is None


@pytest.mark.usefixtures("some_of_each")
def test_table_is_plain_text_in_a_pipe(postroom: Postroom, connection: Connection) -> None:
    postroom("pause", "smtp", "--reason", "moving\x1b[31m office")
    connection.execute(text("UPDATE scheduler_state SET last_scan_at = now() - interval '3 h'"))
    result = postroom("status")
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[0].startswith("The scheduler is running; last scan 3h 0m ago; ")
    assert any(line.startswith("gateway 2 2 2 1 1 1 1m ") for line in lines)
    assert "smtp 0 0 0 0 0 0 – paused: moving\N{REPLACEMENT CHARACTER}[31m office" in lines
    assert any(line.endswith("not in agents.toml") for line in lines)
    assert "\x1b" not in result.stdout


def test_paused_scheduler_names_who_paused_it(postroom: Postroom, database: str) -> None:
    postroom("pause")
    stdout = postroom("status").stdout
    assert stdout.startswith("The scheduler was paused by postroom command; no scan yet\n")


def test_watch_needs_a_terminal(postroom: Postroom, database: str) -> None:
    for arguments in (("--watch",), ("--watch", "--json")):
        result = postroom("status", *arguments)
        assert (result.exit_code, result.stdout) == (2, "")


def test_watch_updates_the_table_until_ctrl_c(connection: Connection, insert: Insert) -> None:
    # A job in the background of a shell ignores SIGINT, and its children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    ours, theirs = pty.openpty()
    watch = subprocess.Popen(
        [PROGRAM, "status", "--watch"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(theirs)
    try:
        read_until(ours, "gateway 0")
        insert("outbox")
        read_until(ours, "gateway 1")
        connection.execute(
            text("""
                SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND application_name = 'postroom'
                    AND pid <> pg_backend_pid()
            """)
        )
        read_until(ours, "The database is unreachable")
        read_until(ours, "gateway 1")
        watch.send_signal(signal.SIGINT)
        assert watch.wait() == 0
    finally:
        watch.kill()
        watch.wait()
        os.close(ours)


def read_until(terminal: int, expected: str) -> None:
    """Read the terminal until it shows `expected`, ignoring spaces, or the test times out."""
    shown = ""
    while expected not in " ".join(shown.split()):
        shown += os.read(terminal, 4096).decode(errors="replace")
