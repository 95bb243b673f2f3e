"""`postroom cancel` and `postroom replay`: take messages back, or send them again."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from sqlalchemy import Connection, select

from app.cli.output import (
    CommandError,
    NothingToDoError,
    console,
    json_option,
    print_json,
    table,
)
from app.db import autocommit, transaction
from app.errors import InvalidError
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
DEAD = ("failed",)
OPTIONS = {"created_from": "--since", "created_to": "--until", "agent": "--agent"}


@click.command()
@click.argument("ids", nargs=-1, required=True, type=MessageId)
@json_option
def cancel(*, ids: tuple[int, ...], as_json: bool) -> None:
    """Take back the messages IDS that nobody has begun to send."""
    _change(ids, cancel_messages, "cancelled", as_json=as_json)


@click.command()
@click.argument("ids", nargs=-1, type=MessageId)
@click.option("--agent")
@click.option("--channel", type=click.Choice(get_args(Channel)))
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(sorted(REPLAYABLE)),
    help="Can be given several times; failed by default.",
)
@click.option("--since", "created_from", metavar="TIME", help="Accepted then or later.")
@click.option("--until", "created_to", metavar="TIME", help="Accepted before.")
@click.option("--yes", is_flag=True, help="Do it; without, a filter only counts.")
@json_option
def replay(
    *, ids: tuple[int, ...], statuses: tuple[str, ...], yes: bool, as_json: bool, **filters: Any
) -> None:
    """Send messages again that have ended: the messages IDS, or what a filter finds.

    A time looks like 2026-11-22T14:00:00Z. A filter shows what it would do, until you add --yes.
    """
    given = {name: value for name, value in filters.items() if value is not None}
    if bool(ids) == bool(given or statuses):
        raise click.UsageError("give either ids or a filter")
    if ids:
        _change(ids, replays.replay, "replayed", as_json=as_json)
        return
    try:
        conditions = parse(Filter, given).conditions()
    except InvalidError as error:
        lines = "; ".join(f"{OPTIONS[fault.field]}: {fault.reason}" for fault in error.errors)
        raise click.UsageError(lines) from None
    conditions.append(Message.status.in_(statuses or DEAD))
    _replay_chosen(conditions, yes=yes, as_json=as_json)


def _change(
    ids: Sequence[int],
    change: Callable[[Connection, Sequence[int]], list[int]],
    done: str,
    *,
    as_json: bool,
) -> None:
    """Change the messages, and tell which were not, and why."""
    with transaction() as connection:
        changed = sorted(change(connection, ids))
        left = set(ids).difference(changed)
        rows = connection.execute(select(Message.id, Message.status).where(Message.id.in_(left)))
        refused = {row.id: row.status for row in rows}
    missing = sorted(left.difference(refused))
    if as_json:
        print_json({done: changed, "refused": refused, "missing": missing})
    elif changed:
        click.echo(f"{done.capitalize()}: {', '.join(map(str, changed))}")
    faults = [f"message {number} is {status}" for number, status in sorted(refused.items())]
    faults += [f"there is no message {number}" for number in missing]
    if faults:
        raise (CommandError if refused else NothingToDoError)("\n".join(faults))


def _replay_chosen(chosen: Conditions, *, yes: bool, as_json: bool) -> None:
    with autocommit() as connection:
        counts = replays.count(connection, chosen)
    total = sum(counts.values())
    replayed = _replay_all(chosen, total, silent=as_json) if yes else 0
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
        _tell(counts, f"{replayed} messages are in the outbox again." if yes else None)
    if not total:
        raise NothingToDoError("no message matches")


def _replay_all(chosen: Conditions, total: int, *, silent: bool) -> int:
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
                batch = replays.replay_batch(connection, chosen, last)
            if not batch:
                return replayed
            last = batch[-1]
            replayed += len(batch)
            progress.update(task, completed=replayed)


def _tell(counts: Counts, done: str | None) -> None:
    rows = ((agent, status, number) for (agent, status), number in counts.items())
    console().print(table(("agent", "status", "messages"), rows))
    click.echo(done or "Nothing was done; --yes replays them.")
