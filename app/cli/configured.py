"""The names of the agents, for commands that must work while agents.toml is invalid."""

import click

from app.agents import AgentsError, agent_names, agents
from app.cli.output import printable


def configured_agents() -> frozenset[str] | None:
    """Return the names of the configured agents, or None if agents.toml cannot be read.

    Its problems are printed on stderr as warnings.
    """
    try:
        return frozenset(agents().by_name)
    except AgentsError as error:
        for line in str(error).splitlines():
            click.echo(f"postroom: warning: {printable(line)}", err=True)
    try:
        return frozenset(agent_names())
    except AgentsError:
        return None
