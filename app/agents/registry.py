"""The agents of a process: `agents.toml` loaded and checked, a connector for each profile."""

import os
import re
import tomllib
from collections.abc import Collection, Iterator
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from app.agents.definition import Agent, AgentsError, Profile, Route
from app.limits import Limit
from app.settings import settings
from connectors.base import Connector
from connectors.base import registry as connectors

SEND_GRACE = timedelta(seconds=15)
"""The time after a connector's send timeout that a worker has to record the outcome."""


class Agents:
    """All agents of a file, with their routes and connectors."""

    def __init__(self, agents: dict[str, Agent], routes: tuple[Route, ...]) -> None:
        self.by_name = agents
        self.routes = routes
        self._connectors = {
            (agent.name, name): _make_connector(agent, profile)
            for agent in agents.values()
            for name, profile in agent.profiles.items()
        }

    @classmethod
    def load(cls, path: Path) -> Self:
        """Load the agents of a file.

        Raises:
            AgentsError: the file cannot be read, or some of its keys cannot be used.
        """
        problems: list[str] = []
        tree = _with_environment(problems, _read(path))
        agents: dict[str, Agent] = {}
        routes: list[Route] = []
        if not problems:
            unknown = tree.keys() - {"agents", "routes"}
            problems += [f"{key}: unknown key. Use agents or routes." for key in unknown]
            agents = _parse_agents(problems, tree.get("agents", {}))
            # All names: a route to an agent that is itself invalid is not another problem.
            tables = tree.get("agents", {})
            names = [*tables] if isinstance(tables, dict) else []
            routes = _parse_routes(problems, tree.get("routes", []), names)
        if problems:
            raise AgentsError("\n".join(f"{path}: {problem}" for problem in problems))
        return cls(agents, tuple(routes))

    def connector(self, agent: str, profile: str) -> Connector[Any]:
        """Return the connector of a profile.

        Raises:
            KeyError: there is no such agent or profile.
        """
        return self._connectors[agent, profile]

    def rate_limits(self, agent: str, profile: str) -> dict[str, tuple[Limit, ...]]:
        """Return the limits that apply to a message of this profile.

        The keys name what the limits belong to: `agent` and `agent/profile`.
        """
        configured = self.by_name[agent]
        limits = {agent: configured.rate_limits}
        if profile in configured.profiles:
            limits[f"{agent}/{profile}"] = configured.profiles[profile].rate_limits
        return limits

    def is_rate_limited(self, agent: str) -> bool:
        """Return whether the agent or one of its profiles has a rate limit."""
        configured = self.by_name[agent]
        return bool(configured.rate_limits) or any(
            profile.rate_limits for profile in configured.profiles.values()
        )

    def default_sender(self, agent: str, profile: str) -> str | None:
        """Return the sender of messages that name none, if the profile has one."""
        sender = getattr(self.connector(agent, profile).settings, "sender", None)
        return sender if isinstance(sender, str) else None

    def send_lease(self, agent: str) -> timedelta:
        """Return how long a worker may hold a message of this agent while it sends it.

        Attachments that have to be fetched extend the lease; see `app.attachments.resolve`.
        """
        profiles = self.by_name[agent].profiles
        return max(self.connector(agent, name).send_timeout for name in profiles) + SEND_GRACE

    def close(self) -> None:
        """Close all connectors."""
        for connector in self._connectors.values():
            connector.close()


@cache
def agents() -> Agents:
    """Return the agents of this process, loaded once.

    Raises:
        AgentsError: `agents.toml` cannot be used.
    """
    return Agents.load(settings().agents_file)


def agent_names() -> list[str]:
    """Return the names of the configured agents, without importing their connectors.

    Raises:
        AgentsError: `agents.toml` cannot be read.
    """
    return [*_read(settings().agents_file).get("agents", {})]


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise AgentsError(f"{path}: {error.strerror}") from None
    except ValueError as error:  # not UTF-8, or not TOML
        raise AgentsError(f"{path}: {error}") from None


def _make_connector(agent: Agent, profile: Profile) -> Connector[Any]:
    connector_class = connectors.load(agent.connector)
    return connector_class(
        connector_class.Settings.model_validate({**agent.settings, **profile.settings})
    )


def _parse_agents(problems: list[str], tables: Any) -> dict[str, Agent]:
    if not isinstance(tables, dict) or not tables:
        problems.append("agents: no agent is configured. Add a table [agents.<name>].")
        return {}
    agents: dict[str, Agent] = {}
    for name, table in tables.items():
        connector = table.get("connector", "") if isinstance(table, dict) else ""
        try:
            connector_class = connectors.load(str(connector))
        except LookupError as error:
            problems.append(f"agents.{name}.connector: {error.args[0]}")
            continue
        defaults = {
            "name": name,
            "channels": connector_class.channels,
            "on_uncertain": connector_class.on_uncertain,
        }
        try:
            agents[name] = Agent.model_validate(defaults | table)
        except ValidationError as error:
            problems += [f"agents.{name}.{line}" for line in _lines(error)]
            continue
        conflicts = _conflicts(name, agents[name], connector_class)
        problems += [f"agents.{name}.{line}" for line in conflicts]
    return agents


def _conflicts(name: str, agent: Agent, connector_class: type[Connector[Any]]) -> Iterator[str]:
    """Yield the settings of an agent that its connector does not allow."""
    if agent.name != name:
        yield "name: must not be set. The name of the table is the name of the agent."
    if unserved := ", ".join(sorted(agent.channels - connector_class.channels)):
        served = ", ".join(sorted(connector_class.channels))
        yield f"channels: {agent.connector} does not serve {unserved}. It serves: {served}."
    if connector_class.on_uncertain == "hold" and agent.on_uncertain != "hold":
        yield f"on_uncertain: must be hold. {agent.connector} never sends a possible duplicate."
    for profile_name, profile in agent.profiles.items():
        try:
            connector_class.Settings.model_validate({**agent.settings, **profile.settings})
        except ValidationError as error:
            for line in _lines(error):
                yield f"settings.{line} (profile {profile_name})"


def _parse_routes(problems: list[str], tables: Any, agents: Collection[str]) -> list[Route]:
    if not isinstance(tables, list):
        problems.append("routes: not a list of tables. Write each route as [[routes]].")
        return []
    routes = []
    for number, table in enumerate(tables, start=1):
        try:
            route = Route.model_validate(table)
        except ValidationError as error:
            problems += [f"routes[{number}].{line}" for line in _lines(error)]
            continue
        known = ", ".join(sorted(agents)) or "none"
        problems += [
            f"routes[{number}].agent: there is no agent {name}. Available agents: {known}."
            for name in route.weights()
            if name not in agents
        ]
        routes.append(route)
    return routes


def _lines(error: ValidationError) -> list[str]:
    """Return each problem as `key: reason`, without the value, which may be a secret."""
    return [
        f"{_key(problem['loc'])}: {_reason(problem)}"
        for problem in error.errors(include_input=False, include_url=False)
    ]


def _key(location: tuple[int | str, ...]) -> str:
    """Return a key as it is found in the file, such as `rate_limits[1]`; the first is 1."""
    key = ""
    for part in location:
        if isinstance(part, int):
            key += f"[{part + 1}]"
        elif part != "str" and not part.startswith(
            "dict["
        ):  # a type: the member of a union that failed
            key += f".{part}" if key else part
    return key


def _reason(problem: Any) -> str:
    match problem["type"]:
        case "extra_forbidden":
            return "unknown key"
        case "missing":
            return "missing"
        case "model_type" | "dict_type":
            return "must be a table"
    reason: str = problem["msg"].removeprefix("Value error, ")
    reason = re.sub("^(Input|String) should", "must", reason)
    return re.sub("a valid (list|tuple)", "a list", reason)


def _with_environment(problems: list[str], value: Any, key: str = "") -> Any:
    """Return `value` with each ${NAME} and ${NAME:-default} in its strings expanded.

    As in a shell, the default also applies to a variable that is empty.
    """
    if isinstance(value, dict):
        return {
            name: _with_environment(problems, inner, f"{key}.{name}" if key else name)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [_with_environment(problems, inner, key) for inner in value]
    if not isinstance(value, str):
        return value

    def expand(found: re.Match[str]) -> str:
        name, default = found.groups()
        content = os.environ.get(name)
        if content is None and default is None:
            problems.append(f"{key}: the environment variable {name} is not set")
        return content or default or ""

    return re.sub(r"\$\{(\w+)(?::-([^}]*))?\}", expand, value)
