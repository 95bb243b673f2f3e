"""The agents of `agents.toml`: their definition, registry and routing."""

from app.agents.definition import Agent, AgentsError, Name, Profile, Retry, Route
from app.agents.registry import Agents, agents
from app.agents.routing import UnroutableError, choose_agent

__all__ = [
    "Agent",
    "Agents",
    "AgentsError",
    "Name",
    "Profile",
    "Retry",
    "Route",
    "UnroutableError",
    "agents",
    "choose_agent",
]
