"""Output of the commands: results on stdout, as tables or JSON; everything else on stderr."""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import click
from rich import box
from rich.console import Console
from rich.table import Table

PIPE_WIDTH = 160

OPERATOR = "postroom command"
"""The author of a change, where the API records the name of the token."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def print_json(value: object) -> None:
    """Print a value as one line of JSON, with times in ISO 8601."""
    click.echo(json.dumps(value, ensure_ascii=False, default=datetime.isoformat))


def console(*, stderr: bool = False) -> Console:
    """Return the terminal. Piped output is plain text, wide enough that nothing is cut off."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(
        stderr=stderr,
        width=None if stream.isatty() else PIPE_WIDTH,
        markup=False,
        emoji=False,
        highlight=False,
    )


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Return a table of `rows`, with numbers right-aligned and None as a dash."""
    rows = [list(row) for row in rows]
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for number, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[number], int | None) for row in rows)
        made.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        made.add_row(*("–" if cell is None else printable(str(cell)) for cell in row))
    return made


def printable(text: str) -> str:
    """Replace control characters, which a terminal would obey, in text of unknown origin."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def format_time(time: datetime | None) -> str | None:
    """Format a time in UTC for display."""
    return None if time is None else f"{time:%Y-%m-%d %H:%M:%S}Z"


def format_duration(duration: timedelta | None) -> str | None:
    """Format a duration for display, in its two largest units."""
    if duration is None:
        return None
    seconds = max(int(duration.total_seconds()), 0)
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if days:
        return f"{days}d {hours % 24}h"
    if hours:
        return f"{hours}h {minutes % 60}m"
    return f"{minutes}m {seconds % 60}s" if minutes else f"{seconds}s"
