"""`postroom cancel` and `postroom replay`."""

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from sqlalchemy import Connection, select

from app.cli.errors import CommandError, NothingToDoError
from app.cli.output import console, json_option, print_json, table
from app.cli.times import Time
from app.db import autocommit, transaction
from app.fields import parse
from app.models import Message
from app.outbox import replay as replays
from app.outbox.cancel import cancel as cancel_messages
from app.outbox.replay import Conditions
from app.outbox.states import REPLAYABLE
from app.queries.messages import Filter
from connectors.base import Channel

MessageId = click.IntRange(1, 2**63 - 1)
Counts = Mapping[tuple[str | None, str], int]
DEFAULT_STATUSES = ("failed",)


@click.command()
@click.argument("ids", nargs=-1, required=True, type=MessageId)
@json_option
def cancel(*, ids: tuple[int, ...], as_json: bool) -> None:
    """Cancel messages that have not started sending."""
    _change(ids, cancel_messages, "cancelled", as_json=as_json)


@click.command()
@click.argument("ids", nargs=-1, type=MessageId)
@click.option("--agent", help="Only messages of this agent.")
@click.option("--channel", type=click.Choice(get_args(Channel)), help="Only this channel.")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(sorted(REPLAYABLE)),
    help="Only this status; by default failed. Can be repeated.",
)
@click.option("--since", type=Time(), metavar="TIME", help="Created at this time or later.")
@click.option("--until", type=Time(), metavar="TIME", help="Created before this time.")
@click.option("--yes", is_flag=True, help="Replay. Without it, a filter only counts.")
@json_option
def replay(
    *, ids: tuple[int, ...], statuses: tuple[str, ...], yes: bool, as_json: bool, **filters: Any
) -> None:
    """Replay messages that have ended.

    They return to the outbox and are sent again. Give their IDS, or a filter. A filter only counts
    the messages until you add --yes. A TIME is 2h (ago), 3d, today, yesterday, 2026-11-22 or
    2026-11-22T14:00; in UTC, unless it ends with another offset.
    """
    given = {name: value for name, value in filters.items() if value is not None}
    if bool(ids) == bool(given or statuses):
        raise click.UsageError("give either ids or a filter")
    if ids:
        _change(ids, replays.replay, "replayed", as_json=as_json)
        return
    conditions = parse(Filter, given).conditions()
    by_status = Message.status.in_(statuses or DEFAULT_STATUSES)
    if not _replay_by_filter([*conditions, by_status], yes=yes, as_json=as_json):
        raise NothingToDoError(f"no message matches{_others(conditions)}")


def _change(
    ids: Sequence[int],
    change: Callable[[Connection, Sequence[int]], list[int]],
    done: str,
    *,
    as_json: bool,
) -> None:
    """Change messages, and report those that could not be changed.

    Args:
        ids: The messages.
        change: Changes those that it can and returns their ids.
        done: What happens to them, such as `cancelled`.
        as_json: Print JSON.
    """
    with transaction() as connection:
        changed = sorted(change(connection, ids))
        others = set(ids).difference(changed)
        rows = connection.execute(select(Message.id, Message.status).where(Message.id.in_(others)))
        refused = {row.id: row.status for row in rows}
    missing = sorted(others.difference(refused))
    if as_json:
        print_json({done: changed, "refused": refused, "missing": missing})
    elif changed:
        click.echo(f"{done.capitalize()}: {', '.join(map(str, changed))}")
    errors = [
        f"message {number}: cannot be {done}, its status is {status}"
        for number, status in sorted(refused.items())
    ]
    errors += [f"message {number}: not found" for number in missing]
    if errors:
        raise (CommandError if refused else NothingToDoError)("\n".join(errors))


def _others(conditions: Conditions) -> str:
    """Name the statuses in which messages match, for an operator who chose none of them."""
    by_status = Message.status.in_(REPLAYABLE - {"cancelled", "delivered", "expired"})
    numbers: Counter[str] = Counter()
    with autocommit() as connection:
        for (_, status), number in replays.count(connection, [*conditions, by_status]).items():
            numbers[status] += number
    if not numbers:
        return ""
    found = ", ".join(f"{number} {status}" for status, number in sorted(numbers.items()))
    options = " ".join(f"--status {status}" for status in sorted(numbers))
    return f" with this status. In others: {found}. Add {options}."


def _replay_by_filter(conditions: Conditions, *, yes: bool, as_json: bool) -> int:
    """Count or replay the messages, print the result and return their number."""
    with autocommit() as connection:
        counts = replays.count(connection, conditions)
    total = sum(counts.values())
    replayed = _replay_all(conditions, total, silent=as_json) if yes else 0
    if as_json:
        print_json(
            {
                "dry_run": not yes,
                "matched": [
                    {"agent": agent, "status": status, "messages": number}
                    for (agent, status), number in counts.items()
                ],
                "total": total,
                "replayed": replayed,
            }
        )
    elif total:
        rows = ((agent, status, number) for (agent, status), number in counts.items())
        console().print(table(("agent", "status", "messages"), rows))
        click.echo(
            f"{replayed} messages are in the outbox again."
            if yes
            else "Nothing was replayed. Add --yes to replay these messages."
        )
    return total


def _replay_all(conditions: Conditions, total: int, *, silent: bool) -> int:
    replayed = 0
    last = 0
    with Progress(
        TextColumn("replaying"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console(stderr=True),
        disable=silent or not sys.stderr.isatty(),
    ) as progress:
        task = progress.add_task("", total=total)
        while True:
            with transaction() as connection:
                batch = replays.replay_batch(connection, conditions, last)
            if not batch:
                return replayed
            last = batch[-1]
            replayed += len(batch)
            progress.update(task, completed=replayed)
