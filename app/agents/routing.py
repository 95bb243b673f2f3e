"""Which agent a message takes."""

import random

from app.agents.definition import Agent
from app.agents.registry import Agents


class UnroutableError(ValueError):
    """No agent can take the message. `field` names the field of the message to change."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


def choose_agent(
    agents: Agents,
    *,
    channel: str,
    recipient: str,
    sender: str | None,
    requested: str | None,
    profile: str,
) -> Agent:
    """Return the agent for a message.

    It is the one that the message requests, else that of the first matching route, else the only
    one that serves the channel.

    Raises:
        UnroutableError: no agent serves the channel, several do, or the requested agent or
            profile does not exist.
    """
    if requested:
        agent = _requested(agents, requested, channel)
    else:
        agent = _routed(agents, channel, recipient, sender) or _only(agents, channel)
    if profile not in agent.profiles:
        known = ", ".join(sorted(agent.profiles))
        raise UnroutableError(
            "profile", f"agent {agent.name} has no such profile. Available profiles: {known}."
        )
    return agent


def _requested(agents: Agents, name: str, channel: str) -> Agent:
    agent = agents.by_name.get(name)
    if agent is None:
        known = ", ".join(sorted(agents.by_name))
        raise UnroutableError("agent", f"no such agent. Available agents: {known}.")
    if channel not in agent.channels:
        served = ", ".join(sorted(agent.channels))
        raise UnroutableError("agent", f"does not serve {channel}. It serves: {served}.")
    return agent


def _routed(agents: Agents, channel: str, recipient: str, sender: str | None) -> Agent | None:
    for route in agents.routes:
        if not route.matches(channel, recipient, sender):
            continue
        serving = {
            name: weight
            for name, weight in route.weights().items()
            if channel in agents.by_name[name].channels
        }
        if serving:
            [name] = random.choices([*serving], [*serving.values()])  # noqa: S311 - not a secret
            return agents.by_name[name]
    return None


def _only(agents: Agents, channel: str) -> Agent:
    serving = [agent for agent in agents.by_name.values() if channel in agent.channels]
    if not serving:
        raise UnroutableError("channel", f"no agent serves {channel}.")
    if len(serving) > 1:
        names = ", ".join(sorted(agent.name for agent in serving))
        raise UnroutableError(
            "agent", f"several agents serve {channel}. Name one ({names}) or add a route."
        )
    return serving[0]
