"""`postroom agents`."""

from typing import Any

import click

from app.agents import Agent, Agents, Retry
from app.cli.output import console, json_option, print_json, table
from app.settings import settings


@click.group()
def agents() -> None:
    """Inspect the configured agents."""


@agents.command()
@json_option
def check(*, as_json: bool) -> None:
    """Check agents.toml: show its agents, or every key that is invalid."""
    found = Agents.load(settings().agents_file)
    found.close()
    if as_json:
        print_json([_as_dict(agent) for agent in found.by_name.values()])
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


def _as_dict(agent: Agent) -> dict[str, Any]:
    """Return the agent without the settings of its connector, which contain secrets."""
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
        f"{retry.attempts} attempts, {retry.base_seconds:g} s ×{retry.factor:g}"
        f" up to {retry.cap_seconds:g} s"
    )
