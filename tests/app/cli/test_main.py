"""What all commands of `postroom` have in common."""

import json
import os
import subprocess
from pathlib import Path

import click
import psycopg2
import pytest
from sqlalchemy.exc import OperationalError

from app import migrate
from app.cli import COMMANDS, main
from app.cli.errors import DatabaseUnreachableError, command_error
from tests.app.cli.conftest import PROGRAM, Insert, Postroom
from tests.servers import free_port, read_only


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_lists_every_command_and_exit_code(postroom: Postroom) -> None:
    result = postroom("--help")
    listed = [line.split()[0] for line in result.stdout.splitlines() if line.startswith("  ")]
    assert [word for word in listed if word in COMMANDS] == [*COMMANDS]
    assert [word for word in listed if word.isdecimal()] == ["0", "1", "2", "3", "4"]


def test_help_of_each_command_starts_with_its_summary(postroom: Postroom) -> None:
    failures = []
    for name, (_, summary) in COMMANDS.items():
        result = postroom(name, "--help")
        command = main.get_command(click.Context(main), name)
        assert command is not None
        sentence = " ".join((command.help or "").split()).partition(".")[0] + "."
        if result.exit_code or not result.stdout.startswith(f"Usage: postroom {name}"):
            failures.append(result.output)
        if not sentence.startswith(summary.removesuffix(".")):
            failures.append(f"{name}: {sentence!r}, but in `postroom --help`: {summary!r}")
    assert not failures


def test_every_option_has_a_help_text() -> None:
    def options(command: click.Command) -> list[str]:
        if isinstance(command, click.Group):
            return [
                f"{command.name} {name}"
                for sub in command.list_commands(click.Context(command))
                if (found := command.get_command(click.Context(command), sub))
                for name in options(found)
            ]
        return [
            f"{command.name} {option.opts[0]}"
            for option in command.params
            if isinstance(option, click.Option) and not option.help
        ]

    assert options(main) == []


def test_unknown_command_is_invalid_usage(postroom: Postroom) -> None:
    assert postroom("fly").exit_code == 2


def test_read_only_database_is_one_line(postroom: Postroom, database: str) -> None:
    with read_only(database):
        result = postroom("pause")
    assert result.exit_code == 1
    assert result.stderr == ("postroom: database: read-only. Try again when it accepts writes.\n")


def test_unreachable_database_is_one_line_and_exit_code_4(
    postroom: Postroom, environment: pytest.MonkeyPatch
) -> None:
    url = f"postgresql://postroom:a-secret-word@127.0.0.1:{free_port()}/postroom"
    environment.setenv("DATABASE_URL", url)
    failures = []
    for arguments in (
        ("migrate",),
        ("status",),
        ("send", "--channel", "sms", "--to", "+18045551234", "--body", "Hello"),
        ("replay", "1"),
        ("replay", "--agent", "gateway"),
        ("cancel", "1"),
        ("pause",),
        ("resume", "smtp"),
        ("suppressions", "list"),
        ("token", "list"),
        ("token", "create", "shop", "--scope", "read"),
        ("token", "revoke", "1"),
    ):
        result = postroom(*arguments)
        lines = result.stderr.splitlines()
        if not (
            (result.exit_code, result.stdout, len(lines)) == (4, "", 1)
            and lines[0].startswith("postroom: database: unreachable: ")
            and "a-secret-word" not in lines[0]
        ):
            failures.append(f"{arguments}: {result.exit_code} {result.output}")
    assert not failures


def test_database_without_tables_has_to_be_migrated(
    postroom: Postroom, empty_database: str
) -> None:
    for arguments in (("status",), ("cancel", "1"), ("token", "list")):
        result = postroom(*arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == "postroom: database: not migrated. Run `postroom migrate`.\n"


def test_invalid_setting_is_named_by_its_variable(
    postroom: Postroom, environment: pytest.MonkeyPatch
) -> None:
    for variable, value in (
        ("DATABASE_URL", "mysql://a-secret-word@host/database"),
        ("POSTROOM_PORT", "99999"),
        ("POSTROOM_LOG_LEVEL", "LOUD"),
        ("POSTROOM_SUBMIT_RATE_LIMITS", "often"),
    ):
        with environment.context() as one:
            one.setenv(variable, value)
            result = postroom("status")
        assert (result.exit_code, result.stdout) == (1, "")
        [line] = result.stderr.splitlines()
        assert line.startswith(f"postroom: {variable}: ")
        assert value not in line
        assert f" Example: {variable}=" in line


@pytest.mark.parametrize("mistake", ["colour = 1", "[agents.gateway", None])
def test_invalid_agents_file_is_a_warning_to_commands_that_do_not_need_the_agents(
    postroom: Postroom, database: str, agents_file: Path, insert: Insert, mistake: str | None
) -> None:
    insert("failed")
    if mistake is None:
        agents_file.unlink()
    else:
        agents_file.write_text(f"{agents_file.read_text()}\n{mistake}\n")
    for arguments in (("status",), ("pause", "gateway"), ("resume", "gateway")):
        result = postroom(*arguments)
        assert result.exit_code == 0, result.output
        [warning] = result.stderr.splitlines()
        assert warning.startswith(f"postroom: warning: {agents_file}: ")
        assert "not in agents.toml" not in result.stdout
    for arguments in (("pause",), ("resume",), ("replay", "--status", "failed")):
        assert (postroom(*arguments).exit_code, postroom(*arguments).stderr) == (0, "")
    sent = postroom("send", "--channel", "sms", "--to", "+18045551234", "--body", "Hello")
    assert (sent.exit_code, sent.stdout) == (1, "")
    assert sent.stderr.startswith(f"postroom: {agents_file}: ")


def test_migrate_reports_the_revisions(postroom: Postroom, empty_database: str) -> None:
    first = postroom("migrate")
    assert (first.exit_code, first.stderr) == (0, "")
    assert first.stdout.startswith("Migrated the database from empty to revision 0")
    newest = first.stdout.split()[-1].removesuffix(".")
    again = postroom("migrate")
    assert again.stdout == f"The database is already at revision {newest}.\n"
    migrate.downgrade("base")
    assert postroom("migrate").stdout == first.stdout


def test_migrate_rejects_a_database_of_a_newer_version(
    postroom: Postroom, empty_database: str
) -> None:
    postroom("migrate")
    with migrate.engine().begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    result = postroom("migrate")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("postroom: database: newer than this version of Postroom")


def test_process_prints_plain_results_on_stdout_and_errors_on_stderr(
    database: str, insert: Insert
) -> None:
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
    assert again.stderr == (
        f"postroom: message {message}: cannot be cancelled, its status is cancelled\n"
    )


def test_unreachable_database_without_an_address_says_where_it_was_looked_for(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.chdir(tmp_path)
    refused = OperationalError("SELECT 1", {}, psycopg2.OperationalError("Connection refused"))
    error = command_error(refused)
    assert isinstance(error, DatabaseUnreachableError)
    assert f"there is no var/env in {tmp_path}, the folders above it, or " in str(error)


def test_unreachable_database_names_the_file_of_its_address(
    postroom: Postroom, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("POSTROOM_VAR", str(tmp_path))
    address = f"DATABASE_URL=postgresql://postroom@127.0.0.1:{free_port()}/postroom\n"
    (tmp_path / "env").write_text(address)
    result = postroom("migrate")
    assert result.exit_code == 4
    assert f"Its address is from {tmp_path / 'env'}." in result.stderr
