"""The `postroom` command as a process: what every command has in common."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from app import migrate
from tests.app.cli.conftest import PROGRAM, Insert, Postroom
from tests.servers import free_port

COMMANDS = [
    "up", "migrate", "send", "status", "replay", "cancel", "pause", "resume", "token", "agents"
]  # fmt: skip


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_names_every_command_and_exit_code(postroom: Postroom) -> None:
    result = postroom("--help")
    listed = [line.split()[0] for line in result.stdout.splitlines() if line.startswith("  ")]
    assert [word for word in listed if word in COMMANDS] == COMMANDS
    assert [word for word in listed if word.isdecimal()] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_its_help(postroom: Postroom, command: str) -> None:
    result = postroom(command, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: postroom {command}")


@pytest.mark.parametrize(
    "words",
    [
        ("migrate",),
        ("status",),
        ("send", "--channel", "sms", "--to", "+18045551234", "--body", "Hello"),
        ("replay", "1"),
        ("replay", "--agent", "gateway"),
        ("cancel", "1"),
        ("pause",),
        ("resume", "smtp"),
        ("token", "list"),
        ("token", "create", "shop", "--scope", "read"),
        ("token", "revoke", "1"),
    ],
)
def test_a_database_out_of_reach_is_one_line_and_code_4(
    postroom: Postroom, environment: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    url = f"postgresql://postroom:a-secret-word@127.0.0.1:{free_port()}/postroom"
    environment.setenv("DATABASE_URL", url)
    result = postroom(*words)
    assert (result.exit_code, result.stdout) == (4, "")
    [line] = result.stderr.splitlines()
    assert line.startswith("postroom: the database is out of reach: ")
    assert "a-secret-word" not in line


@pytest.mark.parametrize("words", [("status",), ("cancel", "1"), ("token", "list")])
def test_a_database_without_tables_asks_to_migrate(
    postroom: Postroom, empty_database: str, words: tuple[str, ...]
) -> None:
    result = postroom(*words)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "postroom: the database has not been migrated: run `postroom migrate`\n"
    )


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DATABASE_URL", "mysql://a-secret-word@host/database"),
        ("POSTROOM_PORT", "99999"),
        ("POSTROOM_LOG_LEVEL", "LOUD"),
    ],
)
def test_a_bad_setting_is_named_by_its_variable(
    postroom: Postroom, environment: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    environment.setenv(variable, value)
    result = postroom("status")
    assert (result.exit_code, result.stdout) == (1, "")
    [line] = result.stderr.splitlines()
    assert line.startswith(f"postroom: {variable}: ")
    assert value not in line


def test_an_agents_file_that_is_not_there_is_named(
    postroom: Postroom, database: str, agents_file: Path
) -> None:
    agents_file.unlink()
    result = postroom("status")
    assert (result.exit_code, result.stdout) == (1, "")
    assert str(agents_file) in result.stderr


def test_an_unknown_command_is_wrong_usage(postroom: Postroom) -> None:
    assert postroom("fly").exit_code == 2


def test_migrate_says_from_which_revision_to_which(postroom: Postroom, empty_database: str) -> None:
    first = postroom("migrate")
    assert (first.exit_code, first.stderr) == (0, "")
    assert first.stdout.startswith("The database went from empty to revision 0")
    newest = first.stdout.split()[-1].removesuffix(".")
    again = postroom("migrate")
    assert again.stdout == f"The database is at revision {newest} already.\n"
    migrate.downgrade("base")
    assert postroom("migrate").stdout == first.stdout


def test_as_a_process_results_are_on_stdout_alone_and_plain(database: str, insert: Insert) -> None:
    message = insert("failed")
    status = run("status")
    assert (status.returncode, status.stderr) == (0, "")
    assert "\x1b" not in status.stdout
    assert "gateway" in status.stdout
    replayed = run("replay", "--status", "failed", "--yes", "--json", COLUMNS="20")
    assert (replayed.returncode, replayed.stderr) == (0, "")
    assert json.loads(replayed.stdout)["replayed"] == 1
    cancelled = run("cancel", str(message))
    assert (cancelled.returncode, cancelled.stdout) == (0, f"Cancelled: {message}\n")
    again = run("cancel", str(message))
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == f"postroom: message {message} is cancelled\n"
