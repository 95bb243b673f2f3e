"""The `postroom` command. Each subject has a module of its own."""

from importlib import import_module
from typing import Any, NamedTuple

import click

EPILOG = """\
Settings come from the environment, and from the file var/env that `postroom up` writes.

\b
Exit codes:
  0  success
  1  rejected, or failed
  2  invalid usage
  3  not found, or nothing to do
  4  the database is unreachable
"""


class Command(NamedTuple):
    """A command: the module that defines it, and its line in `postroom --help`."""

    module: str
    summary: str


COMMANDS = {
    "up": Command("app.cli.up", "Run Postroom and its servers on this machine until Ctrl-C."),
    "migrate": Command("app.cli.migrate", "Migrate the database to the newest revision."),
    "send": Command("app.cli.send", "Submit a message."),
    "status": Command("app.cli.status", "Show the state of the scheduler and of every agent."),
    "replay": Command("app.cli.messages", "Replay messages that have ended."),
    "cancel": Command("app.cli.messages", "Cancel messages that have not started sending."),
    "pause": Command("app.cli.pause", "Pause an agent, or all sending."),
    "resume": Command("app.cli.pause", "Resume an agent, or all sending."),
    "token": Command("app.cli.token", "Manage API tokens."),
    "agents": Command("app.cli.agents", "Inspect the configured agents."),
    "connectors": Command("app.cli.connectors", "Inspect the installed connectors."),
    "unparsed": Command(
        "app.cli.unparsed", "Inspect webhooks and e-mails that could not be parsed."
    ),
    "suppressions": Command("app.cli.suppressions", "Manage the suppression list."),
}


class Commands(click.Group):
    """The group of all commands. A command's module is imported only when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names of the commands in the order of the help."""
        return [*COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return a command, or None if there is no such command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(COMMANDS[cmd_name].module), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.summary) for name, command in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command. Expected errors end it with a readable line and an exit code."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            from app.cli.errors import command_error  # noqa: PLC0415 - imports what `--help` must not

            expected = command_error(error)
            if expected is None:
                raise
            raise expected from None


@click.group(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Operate Postroom, a self-hosted messaging backend."""
