"""`postroom status`."""

import time
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text
from sqlalchemy.exc import OperationalError

from app.cli.configured import configured_agents
from app.cli.output import console, format_duration, json_option, print_json, printable, table
from app.db import autocommit
from app.queries import overview
from app.queries.overview import AgentOverview, SchedulerOverview

WATCH_SECONDS = 1.0
Configured = frozenset[str] | None
"""The names in agents.toml, or None if it cannot be read."""

COLUMNS = (
    "agent", "waiting", "in flight", "sent 1h", "failed 24h", "unknown 24h", "bounced 24h",
    "oldest due", "note",
)  # fmt: skip


@click.command()
@click.option("--watch", is_flag=True, help="Update the table until Ctrl-C.")
@json_option
def status(*, watch: bool, as_json: bool) -> None:
    """Show the state of the scheduler and of every agent.

    `waiting` counts messages that no worker holds, due or not; `oldest due` is how long the first
    due message has been due.
    """
    if watch and (as_json or not console().is_terminal):
        raise click.UsageError("--watch needs a terminal, and cannot be combined with --json")
    configured = configured_agents()
    scheduler, each = _read(configured)
    if as_json:
        print_json(
            {
                "scheduler": _scheduler_as_dict(scheduler),
                "agents": [_agent_as_dict(agent, configured) for agent in each],
            }
        )
    elif watch:
        _watch(configured)
    else:
        console().print(_view(configured, scheduler, each))


def _read(configured: Configured) -> tuple[SchedulerOverview, list[AgentOverview]]:
    with autocommit() as connection:
        figures = overview.list_agents(connection, configured or ())
        return overview.get_scheduler(connection), figures


def _watch(configured: Configured) -> None:
    with Live(_view_now(configured), console=console(), auto_refresh=False) as live:
        try:
            while True:
                live.refresh()
                time.sleep(WATCH_SECONDS)
                live.update(_view_now(configured))
        except KeyboardInterrupt:
            return


def _view_now(configured: Configured) -> RenderableType:
    """Return the current view. An unreachable database is reported rather than raised."""
    try:
        return _view(configured, *_read(configured))
    except OperationalError as error:
        reason = str(error.orig).partition("\n")[0]
        return Text(f"The database is unreachable: {reason}", "red")


def _view(configured: Configured, scheduler: SchedulerOverview, each: list[AgentOverview]) -> Group:
    rows = (
        (
            agent.agent,
            agent.waiting,
            agent.in_flight,
            agent.sent_last_hour,
            agent.failed_last_day,
            agent.unknown_last_day,
            agent.bounced_last_day,
            format_duration(agent.oldest_due),
            _note(agent, configured),
        )
        for agent in each
    )
    return Group(_headline(scheduler), table(COLUMNS, rows))


def _headline(scheduler: SchedulerOverview) -> Text:
    if scheduler.running:
        line = Text("The scheduler is running", "green")
    else:
        line = Text(f"The scheduler was paused by {printable(str(scheduler.changed_by))}", "yellow")
    scanned = format_duration(scheduler.last_scan_age)
    line.append(f"; last scan {scanned} ago" if scanned else "; no scan yet")
    if scheduler.unrouted:
        line.append(f"; {scheduler.unrouted} messages are not routed yet")
    if scheduler.unparsed:
        line.append(f"; {scheduler.unparsed} webhooks and e-mails could not be parsed", "red")
    return line


def _note(agent: AgentOverview, configured: Configured) -> str:
    if not agent.agent:
        return "ended before they had an agent"
    if configured is not None and not agent.configured:
        return "not in agents.toml"
    if not agent.paused:
        return ""
    return f"paused: {agent.paused_reason}" if agent.paused_reason else "paused"


def _scheduler_as_dict(scheduler: SchedulerOverview) -> dict[str, Any]:
    scanned = scheduler.last_scan_age
    return {
        "running": scheduler.running,
        "changed_by": scheduler.changed_by,
        "changed_at": scheduler.changed_at,
        "last_scan_at": scheduler.last_scan_at,
        "last_scan_age_seconds": None if scanned is None else scanned.total_seconds(),
        "unrouted": scheduler.unrouted,
        "unparsed": scheduler.unparsed,
    }


def _agent_as_dict(agent: AgentOverview, configured: Configured) -> dict[str, Any]:
    oldest = agent.oldest_due
    return {
        "agent": agent.agent,
        "configured": None if configured is None else agent.configured,
        "waiting": agent.waiting,
        "in_flight": agent.in_flight,
        "sent_last_hour": agent.sent_last_hour,
        "failed_last_day": agent.failed_last_day,
        "unknown_last_day": agent.unknown_last_day,
        "bounced_last_day": agent.bounced_last_day,
        "expired_last_day": agent.expired_last_day,
        "oldest_due_age_seconds": None if oldest is None else oldest.total_seconds(),
        "paused": agent.paused,
        "reason": agent.paused_reason,
    }
