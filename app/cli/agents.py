"""`postroom agents`: what agents.toml says."""

from typing import Any

import click

from app.agents import Agent, Agents, Retry
from app.cli.output import console, json_option, print_json, table
from app.settings import settings


@click.group()
def agents() -> None:
    """The agents of agents.toml."""


@agents.command()
@json_option
def check(*, as_json: bool) -> None:
    """Read agents.toml, show what it sets up, and name every key that cannot be used."""
    found = Agents.load(settings().agents_file)
    found.close()
    if as_json:
        print_json([_described(agent) for agent in found.by_name.values()])
        return
    columns = ("agent", "connector", "channels", "max_in_flight", "limits", "retry", "profiles")
    rows = (
        (
            agent.name,
            agent.connector,
            " ".join(sorted(agent.channels)),
            agent.max_in_flight,
            _limits(agent) or None,
            _retry(agent.retry),
            " ".join(agent.profiles),
        )
        for agent in found.by_name.values()
    )
    console().print(table(columns, rows))


def _described(agent: Agent) -> dict[str, Any]:
    """All but the settings of the connector, where the secrets are."""
    return {
        "agent": agent.name,
        "connector": agent.connector,
        "channels": sorted(agent.channels),
        "max_in_flight": agent.max_in_flight,
        "rate_limits": [str(limit) for limit in agent.rate_limits],
        "over_limit": agent.over_limit,
        "worker_rate_limit": agent.worker_rate_limit,
        "retry": agent.retry.model_dump(),
        "on_uncertain": agent.on_uncertain,
        "profiles": {
            name: {"rate_limits": [str(limit) for limit in profile.rate_limits]}
            for name, profile in agent.profiles.items()
        },
    }


def _limits(agent: Agent) -> str:
    limits = [str(limit) for limit in agent.rate_limits]
    limits += [
        f"{name}: {limit}"
        for name, profile in agent.profiles.items()
        for limit in profile.rate_limits
    ]
    if agent.worker_rate_limit:
        limits.append(f"{agent.worker_rate_limit} per worker")
    return ", ".join(limits)


def _retry(retry: Retry) -> str:
    return (
        f"{retry.attempts} tries, {retry.base_seconds:g} s ×{retry.factor:g}"
        f" up to {retry.cap_seconds:g} s"
    )
