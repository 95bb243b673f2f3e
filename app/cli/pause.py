"""`postroom pause` and `postroom resume`."""

import click

from app.cli.configured import configured_agents
from app.cli.errors import NothingToDoError
from app.cli.output import OPERATOR
from app.db import transaction
from app.outbox.pause import pause_agent, pause_scheduler, resume_agent, resume_scheduler


@click.command()
@click.argument("agent", required=False)
@click.option("--reason", help="Why the agent is paused, for `postroom status`.")
def pause(agent: str | None, reason: str | None) -> None:
    """Pause an agent, or all sending.

    Sends in progress finish. Messages are still accepted; they wait until `postroom resume`.
    """
    if agent is None and reason is not None:
        raise click.UsageError("--reason needs an agent")
    with transaction() as connection:
        if agent is None:
            pause_scheduler(connection, by=OPERATOR)
        else:
            pause_agent(connection, _known(agent), reason=reason, by=OPERATOR)
    click.echo(f"{_subject(agent)} is paused. Sends in progress finish.")


@click.command()
@click.argument("agent", required=False)
def resume(agent: str | None) -> None:
    """Resume an agent, or all sending.

    Messages that wait for a retry are due now. Without an agent, agents that are paused themselves
    stay paused.
    """
    with transaction() as connection:
        if agent is None:
            resume_scheduler(connection, by=OPERATOR)
        else:
            resume_agent(connection, _known(agent), by=OPERATOR)
    click.echo(f"{_subject(agent)} is running.")


def _known(agent: str) -> str:
    configured = configured_agents()
    if configured is not None and agent not in configured:
        known = ", ".join(sorted(configured))
        raise NothingToDoError(f"agent: there is no agent {agent}. Available agents: {known}.")
    return agent


def _subject(agent: str | None) -> str:
    return "The scheduler" if agent is None else f"Agent {agent}"
