"""How the commands speak: results on stdout, as tables or as JSON; all else on stderr."""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import IO, Any

import click
from rich import box
from rich.console import Console
from rich.table import Table

WIDTH_OF_A_PIPE = 160

BY = "postroom command"
"""Who did it, where the API would name the token."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


class CommandError(click.ClickException):
    """Ends the command with this text on stderr, each line by itself: refused, or failed."""

    def show(self, file: IO[Any] | None = None) -> None:
        for line in self.message.splitlines():
            click.echo(f"postroom: {clean(line)}", file=file, err=file is None)


class NothingToDoError(CommandError):
    """What the command is about was not found, or needs nothing."""

    exit_code = 3


class OutOfReachError(CommandError):
    """The database does not answer."""

    exit_code = 4


def print_json(value: object) -> None:
    """Print `value` on a line of its own; times in ISO 8601."""
    click.echo(json.dumps(value, ensure_ascii=False, default=datetime.isoformat))


def console(*, stderr: bool = False) -> Console:
    """The terminal; a pipe is given plain text, wide enough that nothing is cut off."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(
        stderr=stderr,
        width=None if stream.isatty() else WIDTH_OF_A_PIPE,
        markup=False,
        emoji=False,
        highlight=False,
    )


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A table of `rows`, numbers to the right. None is shown as a dash."""
    rows = [list(row) for row in rows]
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for number, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[number], int | None) for row in rows)
        made.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        made.add_row(*("–" if cell is None else clean(str(cell)) for cell in row))
    return made


def clean(text: str) -> str:
    """`text` without control characters: providers and other programs have written some of it,
    and a terminal would obey them."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def moment(when: datetime | None) -> str | None:
    """A moment for people, in UTC."""
    return None if when is None else f"{when:%Y-%m-%d %H:%M:%S}Z"


def age(span: timedelta | None) -> str | None:
    """A span of time for people, in its two largest units."""
    if span is None:
        return None
    seconds = max(int(span.total_seconds()), 0)
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if days:
        return f"{days}d {hours % 24}h"
    if hours:
        return f"{hours}h {minutes % 60}m"
    return f"{minutes}m {seconds % 60}s" if minutes else f"{seconds}s"
