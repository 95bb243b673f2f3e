"""The `postroom` command: one file a subject, and here what they have in common."""

from importlib import import_module
from typing import Any

import click
from psycopg2.errors import UndefinedTable
from pydantic import ValidationError
from pydantic_settings import SettingsError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from app.agents import AgentsError
from app.cli.output import CommandError, OutOfReachError
from app.settings import Settings

# Imported when it is called for: `send` loads all checks of the API, `up` the embedded servers,
# and no other command should wait for those.
MODULES = {
    "up": "app.cli.up",
    "migrate": "app.cli.migrate",
    "send": "app.cli.send",
    "status": "app.cli.status",
    "replay": "app.cli.messages",
    "cancel": "app.cli.messages",
    "pause": "app.cli.pause",
    "resume": "app.cli.pause",
    "token": "app.cli.token",
    "agents": "app.cli.agents",
    "connectors": "app.cli.connectors",
    "suppressions": "app.cli.suppressions",
}

EPILOG = """\
Settings come from the environment, and from var/env where `postroom up` runs.

\b
Exit codes:
  0  done
  1  refused, or failed
  2  wrong usage
  3  not found, or nothing to do
  4  the database is out of reach
"""


class Commands(click.Group):
    """Commands whose expected failures end in a readable line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *MODULES]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in MODULES:
            return super().get_command(ctx, cmd_name)
        command: click.Command = getattr(import_module(MODULES[cmd_name]), cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except AgentsError as error:
            raise CommandError(str(error)) from None
        except SettingsError as error:
            raise CommandError(str(error)) from None
        except ValidationError as error:
            if error.title != Settings.__name__:
                raise
            raise CommandError(_bad_settings(error)) from None
        except DBAPIError as error:
            raise _of_database(error) from None


def _bad_settings(error: ValidationError) -> str:
    """A line for each variable; without its value, which may be a secret."""
    prefix = Settings.model_config.get("env_prefix", "")
    lines = []
    for fault in error.errors(include_input=False, include_url=False):
        name = str(fault["loc"][0])
        variable = f"{prefix}{name}".upper() if name in Settings.model_fields else name
        lines.append(f"{variable}: {fault['msg']}")
    return "\n".join(lines)


def _of_database(error: DBAPIError) -> Exception:
    """What to tell the operator; `error` itself where it is a defect of ours."""
    if isinstance(error.orig, UndefinedTable):
        return CommandError("the database has not been migrated: run `postroom migrate`")
    if not isinstance(error, OperationalError | InterfaceError):
        return error
    reason = str(error.orig).partition("\n")[0]
    state = getattr(error.orig, "pgcode", None)
    # Without a code no server answered; class 08 are lost connections, 53 a server that is full,
    # 57P one that starts or stops.
    if state is None or state.startswith(("08", "53", "57P")):
        return OutOfReachError(f"the database is out of reach: {reason}")
    return CommandError(f"the database gave up: {reason}")


@click.group(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """A self-hosted messaging backend."""
