"""`postroom suppressions`: the addresses that are not written to any more."""

from dataclasses import asdict
from typing import Any, get_args

import click

from app import suppression
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
from app.errors import InvalidError
from app.fields import parse
from app.queries import suppressions as queries
from app.queries.suppressions import SuppressionQuery
from app.submission.suppressions import SuppressionRequest, suppress
from app.suppression import Reason
from connectors.base import Channel

COLUMNS = ("id", "channel", "address", "reason", "detail", "agent", "message", "by", "since")
MAX_AT_ONCE = 200

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
    try:
        query = parse(SuppressionQuery, {**given, "limit": MAX_AT_ONCE})
    except InvalidError as error:
        raise CommandError(str(error)) from None
    with autocommit() as connection:
        page = queries.list_suppressions(connection, query)
        found = page.suppressions
        while page.next_cursor is not None:
            query = query.model_copy(update={"cursor": page.next_cursor})
            page = queries.list_suppressions(connection, query)
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
    try:
        request = parse(SuppressionRequest, fields)
        with autocommit() as connection:
            entry, is_new = suppress(connection, request, by=BY)
    except InvalidError as error:
        raise CommandError(str(error)) from None
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
