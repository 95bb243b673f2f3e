"""Errors of the command line and their exit codes."""

import os
from typing import IO, Any

import click
from psycopg2.errors import UndefinedTable
from pydantic import ValidationError
from pydantic_settings import SettingsError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from app.agents import AgentsError
from app.cli.output import printable
from app.db import is_read_only
from app.errors import InvalidError, NotFoundError
from app.migrate import NewerDatabaseError
from app.settings import Settings, describe_errors, searched_folders, settings

UNREACHABLE_CLASSES = ("08", "53", "57P")
"""SQLSTATE classes of lost connections, of a full server, and of one that starts or stops."""


class CommandError(click.ClickException):
    """The command was rejected, or failed. Each line of the text is printed as an error."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the error."""
        for line in self.message.splitlines():
            click.echo(f"postroom: {printable(line)}", file=file, err=file is None)


class NothingToDoError(CommandError):
    """The subject of the command does not exist, or is already as requested."""

    exit_code = 3


class DatabaseUnreachableError(CommandError):
    """The database does not respond."""

    exit_code = 4


def command_error(error: Exception) -> CommandError | None:
    """Return the error to show to the operator, or None if `error` is a defect of Postroom."""
    match error:
        case AgentsError() | InvalidError() | NewerDatabaseError():
            return CommandError(str(error))
        case NotFoundError():
            return NothingToDoError(str(error))
        case SettingsError() | ValidationError(title=Settings.__name__):
            return CommandError("\n".join(describe_errors(error)))
        case DBAPIError():
            return _database_error(error)
    return None


def _where() -> str:
    """Return where the address of the database came from, and what to do."""
    found = settings()
    if os.environ.get("DATABASE_URL"):
        return "Check DATABASE_URL."
    if "database_url" in found.model_fields_set:
        return f"Its address is from {found.var / 'env'}. Is `postroom up` running?"
    current, *_, own = searched_folders()
    return (
        f"DATABASE_URL is not set, and there is no var/env in {current}, the folders above it, or"
        f" {own}. Start `postroom up`, or set DATABASE_URL or POSTROOM_VAR."
    )


def _database_error(error: DBAPIError) -> CommandError | None:
    if isinstance(error.orig, UndefinedTable):
        return CommandError("database: not migrated. Run `postroom migrate`.")
    if is_read_only(error):
        return CommandError("database: read-only. Try again when it accepts writes.")
    if not isinstance(error, OperationalError | InterfaceError):
        return None
    reason = str(error.orig).partition("\n")[0]
    state = getattr(error.orig, "pgcode", None)
    # Without an SQLSTATE, no server responded.
    if state is None or state.startswith(UNREACHABLE_CLASSES):
        return DatabaseUnreachableError(f"database: unreachable: {reason}. {_where()}")
    return CommandError(f"database: {reason}")
