"""`postroom unparsed`."""

from pathlib import Path

import click

from app.cli.errors import NothingToDoError
from app.cli.output import console, format_time, json_option, print_json, printable, table
from app.db import autocommit
from app.inbound import unparsed as rows

COLUMNS = ("id", "agent", "profile", "kind", "bytes", "received", "error")
MAX_LISTED = 200

id_argument = click.argument("id_", metavar="ID", type=int)


@click.group()
def unparsed() -> None:
    """Inspect webhooks and e-mails that could not be parsed."""


@unparsed.command("list")
@json_option
def list_unparsed(*, as_json: bool) -> None:
    """List the webhooks and e-mails that could not be parsed, newest first, at most 200."""
    with autocommit() as connection:
        found = rows.list_failed(connection, MAX_LISTED)
    if as_json:
        print_json(
            [{name: getattr(row, name) for name in row.__dataclass_fields__} for row in found]
        )
        return
    lines = (
        (
            row.id,
            row.agent,
            row.profile,
            row.kind,
            row.size_bytes,
            format_time(row.received_at),
            printable(row.error),
        )
        for row in found
    )
    console().print(table(COLUMNS, lines))


@unparsed.command()
@id_argument
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def save(*, id_: int, file: Path) -> None:
    """Save the body of a webhook, or an e-mail, to a new file."""
    with autocommit() as connection:
        body = rows.get_body(connection, id_)
    if body is None:
        raise NothingToDoError(f"no unparsed webhook or e-mail has the id {id_}.")
    with file.open("xb") as opened:
        opened.write(body)
    click.echo(f"Saved {len(body)} bytes to {file}.")


@unparsed.command()
@id_argument
def retry(*, id_: int) -> None:
    """Parse a webhook or an e-mail again."""
    with autocommit() as connection:
        if not rows.retry(connection, id_):
            raise NothingToDoError(
                f"no webhook or e-mail that could not be parsed has the id {id_}."
            )
    click.echo(f"{id_} will be parsed again.")
