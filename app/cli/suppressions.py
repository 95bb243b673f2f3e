"""`postroom suppressions`."""

from dataclasses import asdict
from typing import Any, get_args

import click

from app import suppression
from app.cli.errors import NothingToDoError
from app.cli.output import OPERATOR, console, format_time, json_option, print_json, table
from app.db import autocommit
from app.fields import parse
from app.queries import suppressions as queries
from app.queries.suppressions import SuppressionQuery
from app.submission.suppressions import SuppressionRequest, suppress
from app.suppression import Reason
from connectors.base import Channel

COLUMNS = (
    "id",
    "channel",
    "address",
    "reason",
    "detail",
    "agent",
    "message",
    "by",
    "since",
    "until",
)
PAGE_SIZE = 200

channel_choice = click.Choice(get_args(Channel))
reason_choice = click.Choice(get_args(Reason))


@click.group()
def suppressions() -> None:
    """Manage the suppression list: addresses that must not receive messages."""


@suppressions.command("list")
@click.option("--channel", type=channel_choice, help="Only this channel.")
@click.option("--address", help="Only this address, in any spelling.")
@click.option("--reason", type=reason_choice, help="Only this reason.")
@json_option
def list_suppressions(*, as_json: bool, **filters: str | None) -> None:
    """List the suppressed addresses, newest first."""
    given: dict[str, Any] = {name: value for name, value in filters.items() if value is not None}
    query = parse(SuppressionQuery, {**given, "limit": PAGE_SIZE})
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
            format_time(entry.created_at),
            format_time(entry.expires_at),
        )
        for entry in found
    )
    console().print(table(COLUMNS, rows))


@suppressions.command()
@click.argument("address")
@click.option(
    "--channel", required=True, type=channel_choice, help="sms and mms share their suppressions."
)
@click.option(
    "--reason",
    default="manual",
    show_default=True,
    type=reason_choice,
    help="Why it is suppressed.",
)
@click.option("--detail", help="A note, shown by `list`.")
@json_option
def add(*, as_json: bool, **fields: str | None) -> None:
    """Add ADDRESS to the suppression list.

    New messages to it are rejected, and waiting messages fail.
    """
    request = parse(SuppressionRequest, fields)
    with autocommit() as connection:
        entry, is_new = suppress(connection, request, by=OPERATOR)
    if not is_new:
        raise NothingToDoError(str(entry))
    if as_json:
        print_json(asdict(entry))
    else:
        click.echo(f"Suppressed {entry.address} as suppression {entry.id}.")


@suppressions.command()
@click.argument("entry_id", metavar="ID", type=click.IntRange(1, 2**63 - 1))
@json_option
def remove(*, entry_id: int, as_json: bool) -> None:
    """Remove the suppression ID, as shown by `list`."""
    with autocommit() as connection:
        entry = suppression.remove(connection, entry_id)
        if entry is None:
            raise NothingToDoError(f"suppression {entry_id}: not found")
        key = (entry.channel_family, entry.address)
        other = suppression.find(connection, [key]).get(key)
    if as_json:
        print_json(asdict(entry))
    else:
        consequence = (
            f"{entry.address} can receive messages again." if other is None else str(other)
        )
        click.echo(f"Removed suppression {entry.id}: {consequence}")
