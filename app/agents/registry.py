"""The agents of `agents.toml`: which exist, what each is allowed, and which one a message takes."""

import os
import random
import re
import tomllib
from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    StringConstraints,
    ValidationError,
)

from app.limits import Limit
from app.settings import settings
from connectors.base import Channel, Connector
from connectors.base import registry as connectors

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
SEND_GRACE = timedelta(seconds=15)
"""How much longer than its connector's deadline a worker may hold a message before it counts as
lost: the time to record the outcome."""


class AgentsError(Exception):
    """`agents.toml` cannot be used. The text has one line per fault, each naming its key."""


class UnroutableError(ValueError):
    """No agent can take the message. `field` is the one of the message to change."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Retry(_Table):
    """How often and how long apart an agent tries again."""

    attempts: PositiveInt = 8
    base_seconds: PositiveFloat = 2.0
    factor: Annotated[float, Field(ge=1, le=100)] = 3.0
    cap_seconds: Annotated[float, Field(gt=0, le=30 * 86400)] = 3600.0
    jitter: Annotated[float, Field(ge=0, lt=1)] = 0.2

    def wait(self, tries: int) -> timedelta:
        """The wait after the given number of tries: exponential, capped, then spread by jitter."""
        exponent = min(tries - 1, 64)
        seconds = min(self.base_seconds * self.factor**exponent, self.cap_seconds)
        spread = random.uniform(1 - self.jitter, 1 + self.jitter)  # noqa: S311 - not a secret
        return timedelta(seconds=seconds * spread)


class Profile(_Table):
    """One identity of an agent; its settings are laid over those of the agent."""

    settings: dict[str, Any] = {}
    rate_limits: tuple[Limit, ...] = ()


class Agent(_Table):
    """A configured way out.

    `window` bounds the messages in flight over all workers; `rate_limits` hold over all
    workers too, while `rate_limit` is Celery's own, per worker.
    """

    name: Name
    connector: str
    channels: frozenset[Channel]
    max_in_flight: PositiveInt = 32
    rate_limits: tuple[Limit, ...] = ()
    over_limit: Literal["defer", "reject"] = "defer"
    worker_rate_limit: Annotated[str, Field(pattern=r"^\d+(\.\d+)?/[smh]$")] | None = None
    retry: Retry = Retry()
    on_uncertain: Literal["retry", "hold"] = "retry"
    settings: dict[str, Any] = {}
    profiles: dict[str, Profile] = {"default": Profile()}

    @property
    def queue(self) -> str:
        """The name of its Celery task, and of the queue of that task."""
        return f"deliver.{self.name}"


class Route(_Table):
    """Sends what matches all of its conditions to its agent, or spreads it over several by
    weight."""

    agent: str | dict[str, PositiveInt]
    channel: Channel | None = None
    recipient_prefix: str | None = None
    sender_domain: Annotated[str, StringConstraints(to_lower=True)] | None = None

    def matches(self, channel: str, recipient: str, sender: str | None) -> bool:
        """Whether a message of this channel between these addresses takes this route."""
        domain = (sender or "").rpartition("@")[2].rstrip(">").lower()
        return (
            self.channel in {None, channel}
            and recipient.startswith(self.recipient_prefix or "")
            and self.sender_domain in {None, domain}
        )

    def weights(self) -> dict[str, int]:
        """The agents of this route with their weights."""
        return {self.agent: 1} if isinstance(self.agent, str) else dict(self.agent)


class Agents:
    """All agents of a file, their routes and their connectors."""

    def __init__(self, agents: dict[str, Agent], routes: tuple[Route, ...]) -> None:
        self.by_name = agents
        self.routes = routes
        self._connectors = {
            (agent.name, name): _connector(agent, profile)
            for agent in agents.values()
            for name, profile in agent.profiles.items()
        }

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read `path`. Raises AgentsError naming every key that cannot be used."""
        try:
            tree = tomllib.loads(path.read_text("utf-8"))
        except OSError as error:
            raise AgentsError(f"{path}: {error.strerror}") from None
        except ValueError as error:  # neither TOML nor, before that, UTF-8
            raise AgentsError(f"{path}: {error}") from None
        faults: list[str] = []
        tree = _with_environment(faults, tree)
        agents: dict[str, Agent] = {}
        routes: list[Route] = []
        if not faults:
            faults += [f"{key}: no such table" for key in tree.keys() - {"agents", "routes"}]
            agents = _each(faults, tree.get("agents", {}))
            routes = _routes(faults, tree.get("routes", []), agents)
        if faults:
            raise AgentsError("\n".join(f"{path}: {fault}" for fault in faults))
        return cls(agents, tuple(routes))

    def choose(
        self, *, channel: str, recipient: str, sender: str | None, asked: str | None, profile: str
    ) -> Agent:
        """The agent for a message: the one asked for, else by the first route that matches, else
        the only one that serves the channel. Raises UnroutableError."""
        agent = self._asked(asked, channel) if asked else self._routed(channel, recipient, sender)
        if profile not in agent.profiles:
            known = ", ".join(sorted(agent.profiles))
            raise UnroutableError(
                "profile", f"agent {agent.name} has no such profile; it has: {known}"
            )
        return agent

    def _asked(self, name: str, channel: str) -> Agent:
        if name not in self.by_name:
            known = ", ".join(sorted(self.by_name))
            raise UnroutableError("agent", f"no such agent; there are: {known}")
        agent = self.by_name[name]
        if channel not in agent.channels:
            serves = ", ".join(sorted(agent.channels))
            raise UnroutableError("agent", f"does not serve {channel}; it serves: {serves}")
        return agent

    def _routed(self, channel: str, recipient: str, sender: str | None) -> Agent:
        for route in self.routes:
            if route.matches(channel, recipient, sender):
                weights = {
                    name: weight
                    for name, weight in route.weights().items()
                    if channel in self.by_name[name].channels
                }
                if weights:
                    name = random.choices([*weights], [*weights.values()])[0]  # noqa: S311
                    return self.by_name[name]
        serving = [agent for agent in self.by_name.values() if channel in agent.channels]
        if len(serving) == 1:
            return serving[0]
        if not serving:
            raise UnroutableError("channel", f"no agent serves {channel}")
        raise UnroutableError("agent", f"several agents serve {channel}: name one, or add a route")

    def connector(self, agent: str, profile: str) -> Connector[Any]:
        """The connector of a profile. Raises KeyError for one that is not configured."""
        return self._connectors[agent, profile]

    def rate_limits(self, agent: str, profile: str) -> dict[str, tuple[Limit, ...]]:
        """The limits that one message of this profile counts against, by what they belong to."""
        configured = self.by_name[agent]
        limits = {agent: configured.rate_limits}
        if profile in configured.profiles:
            limits[f"{agent}/{profile}"] = configured.profiles[profile].rate_limits
        return limits

    def is_rate_limited(self, agent: str) -> bool:
        """Whether any message of this agent counts against a limit."""
        configured = self.by_name[agent]
        return bool(configured.rate_limits) or any(
            profile.rate_limits for profile in configured.profiles.values()
        )

    def default_sender(self, agent: str, profile: str) -> str | None:
        """Whom a message without sender comes from, where the profile has one."""
        sender = getattr(self.connector(agent, profile).settings, "sender", None)
        return sender if isinstance(sender, str) else None

    def send_lease(self, agent: str) -> timedelta:
        """How long a worker may hold a message of this agent while it sends, apart from the time
        that `app.outbox.delivery.start` adds for files to fetch."""
        profiles = self.by_name[agent].profiles
        return max(self.connector(agent, name).deadline for name in profiles) + SEND_GRACE

    def close(self) -> None:
        """Close every connector."""
        for connector in self._connectors.values():
            connector.close()


@cache
def agents() -> Agents:
    """The agents of this process. Raises AgentsError."""
    return Agents.load(settings().agents_file)


def _each(faults: list[str], tables: Any) -> dict[str, Agent]:
    if not isinstance(tables, dict) or not tables:
        faults.append("agents: at least one table [agents.<name>] is needed")
        return {}
    found: dict[str, Agent] = {}
    for name, table in tables.items():
        connector = table.get("connector", "") if isinstance(table, dict) else ""
        try:
            known = connectors.load(str(connector))
        except LookupError as error:
            faults.append(f"agents.{name}.connector: {error.args[0]}")
            continue
        try:
            usual = {"channels": known.channels, "on_uncertain": known.on_uncertain}
            found[name] = Agent.model_validate({"name": name} | usual | table)
        except ValidationError as error:
            faults += [f"agents.{name}.{line}" for line in _lines(error)]
            continue
        faults += [f"agents.{name}.{line}" for line in _misfits(name, found[name], known)]
    return found


def _misfits(name: str, agent: Agent, known: type[Connector[Any]]) -> Iterator[str]:
    """What an agent asks of its connector that this cannot do."""
    if agent.name != name:
        yield "name: is the name of the table, and not to be given"
    if unserved := ", ".join(sorted(agent.channels - known.channels)):
        yield f"channels: {agent.connector} cannot serve {unserved}"
    if known.on_uncertain == "hold" and agent.on_uncertain != "hold":
        yield f"on_uncertain: must be hold; {agent.connector} sends nothing that could be a repeat"
    for profile_name, profile in agent.profiles.items():
        try:
            known.Settings.model_validate({**agent.settings, **profile.settings})
        except ValidationError as error:
            for line in _lines(error):
                yield f"settings.{line} (profile {profile_name})"


def _connector(agent: Agent, profile: Profile) -> Connector[Any]:
    known = connectors.load(agent.connector)
    return known(known.Settings.model_validate({**agent.settings, **profile.settings}))


def _routes(faults: list[str], tables: Any, agents: dict[str, Agent]) -> list[Route]:
    if not isinstance(tables, list):
        faults.append("routes: write each as [[routes]]")
        return []
    found = []
    for number, table in enumerate(tables, start=1):
        try:
            route = Route.model_validate(table)
        except ValidationError as error:
            faults += [f"routes[{number}].{line}" for line in _lines(error)]
            continue
        faults += [
            f"routes[{number}].agent: there is no agent {name}"
            for name in route.weights()
            if name not in agents
        ]
        found.append(route)
    return found


def _lines(error: ValidationError) -> list[str]:
    """Each fault as `key: why`, without the value, which may be a secret."""
    return [
        f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
        for fault in error.errors(include_input=False, include_url=False)
    ]


def _with_environment(faults: list[str], value: Any, key: str = "") -> Any:
    """`value` with each ${NAME} or ${NAME:-default} in its texts replaced from the environment.

    As in a shell, the default serves too where the variable is set to nothing.
    """
    if isinstance(value, dict):
        return {
            name: _with_environment(faults, inner, f"{key}.{name}" if key else name)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [_with_environment(faults, inner, key) for inner in value]
    if not isinstance(value, str):
        return value

    def variable(found: re.Match[str]) -> str:
        name, default = found.groups()
        given = os.environ.get(name)
        if given is None and default is None:
            faults.append(f"{key}: the environment variable {name} is not set")
        return given or default or ""

    return re.sub(r"\$\{(\w+)(?::-([^}]*))?\}", variable, value)
