"""`postroom suppressions`: the addresses that are not written to any more."""

from dataclasses import asdict
from typing import Any, TypeVar, get_args

import click
from pydantic import BaseModel, ValidationError

from app import suppression
from app.api.problems import FieldError, ProblemError, field_errors
from app.api.routes import suppressions as api
from app.cli.output import (
    BY,
    CommandError,
    NothingToDoError,
    console,
    json_option,
    moment,
    print_json,
    table,
)
from app.db import autocommit
from app.suppression import Reason
from connectors.base import Channel

COLUMNS = ("id", "channel", "address", "reason", "detail", "agent", "message", "by", "since")
MAX_AT_ONCE = 200

M = TypeVar("M", bound=BaseModel)

channel_choice = click.Choice(get_args(Channel))
reason_choice = click.Choice(get_args(Reason))


@click.group()
def suppressions() -> None:
    """The suppression list: addresses that are not written to any more."""


@suppressions.command("list")
@click.option("--channel", type=channel_choice)
@click.option("--address", help="However it is written.")
@click.option("--reason", type=reason_choice)
@json_option
def list_suppressions(*, as_json: bool, **filters: str | None) -> None:
    """Show the addresses that are not written to, newest first."""
    given: dict[str, Any] = {name: value for name, value in filters.items() if value is not None}
    query = _checked(api.SuppressionQuery, {**given, "limit": MAX_AT_ONCE})
    with autocommit() as connection:
        page = api.page(connection, query)
        found = page.suppressions
        while page.next_cursor is not None:
            page = api.page(connection, query.model_copy(update={"cursor": page.next_cursor}))
            found += page.suppressions
    if as_json:
        print_json([entry.model_dump() for entry in found])
        return
    rows = (
        (
            entry.id,
            entry.channel_family,
            entry.address,
            entry.reason,
            entry.detail,
            entry.agent,
            entry.message_id,
            entry.created_by,
            moment(entry.created_at),
        )
        for entry in found
    )
    console().print(table(COLUMNS, rows))


@suppressions.command()
@click.argument("address")
@click.option("--channel", required=True, type=channel_choice, help="sms covers mms as well.")
@click.option("--reason", default="manual", show_default=True, type=reason_choice)
@click.option("--detail", help="For those who find it on the list.")
@json_option
def add(*, as_json: bool, **fields: str | None) -> None:
    """Write to ADDRESS no more: refuse messages to it, and fail those that wait."""
    asked = _checked(api.SuppressionRequest, fields)
    try:
        with autocommit() as connection:
            entry, is_new = api.add(connection, asked, by=BY)
    except ProblemError as problem:
        raise _refused(problem.errors) from None
    if not is_new:
        raise NothingToDoError(str(entry))
    if as_json:
        print_json(asdict(entry))
    else:
        click.echo(f"{entry.address} is suppressed, as {entry.id}.")


@suppressions.command()
@click.argument("entry_id", metavar="ID", type=click.IntRange(1, 2**63 - 1))
@json_option
def remove(*, entry_id: int, as_json: bool) -> None:
    """Take the entry ID off the list, as `list` shows it."""
    with autocommit() as connection:
        entry = suppression.remove(connection, entry_id)
    if entry is None:
        raise NothingToDoError(f"there is no suppression {entry_id}")
    if as_json:
        print_json(asdict(entry))
    else:
        click.echo(f"{entry.address} may be written to again.")


def _checked(model: type[M], given: dict[str, Any]) -> M:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise _refused(field_errors(error)) from None


def _refused(errors: list[FieldError]) -> CommandError:
    return CommandError("\n".join(f"{error.field}: {error.reason}" for error in errors))
