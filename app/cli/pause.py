"""`postroom pause` and `postroom resume`: an agent, or everything."""

import click

from app.agents import agents
from app.cli.output import BY, NothingToDoError
from app.db import transaction
from app.outbox import pause as pauses


@click.command()
@click.argument("agent", required=False)
@click.option("--reason", help="For those who find the agent paused.")
def pause(agent: str | None, reason: str | None) -> None:
    """Send nothing through AGENT, or nothing at all, until resumed.

    Messages are accepted meanwhile, and wait.
    """
    if agent is None and reason is not None:
        raise click.UsageError("--reason goes with an agent")
    with transaction() as connection:
        if agent is None:
            pauses.pause_scheduler(connection, by=BY)
        else:
            pauses.pause_agent(connection, _known(agent), reason=reason, by=BY)
    click.echo(f"{_subject(agent)} is paused; sends under way end by themselves.")


@click.command()
@click.argument("agent", required=False)
def resume(agent: str | None) -> None:
    """Go on with AGENT, or with everything, where it was paused.

    Agents that were paused by themselves stay so when everything is resumed.
    """
    with transaction() as connection:
        if agent is None:
            pauses.resume_scheduler(connection, by=BY)
        else:
            pauses.resume_agent(connection, _known(agent), by=BY)
    click.echo(f"{_subject(agent)} is running.")


def _known(agent: str) -> str:
    if agent not in agents().by_name:
        known = ", ".join(sorted(agents().by_name))
        raise NothingToDoError(f"there is no agent {agent}; there are: {known}")
    return agent


def _subject(agent: str | None) -> str:
    return "The scheduler" if agent is None else f"Agent {agent}"
