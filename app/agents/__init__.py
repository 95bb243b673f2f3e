"""The agents of `agents.toml`: their definition, registry and routing."""

from app.agents.definition import Agent, AgentsError, Name, Profile, Retry, Route, queue_name
from app.agents.registry import Agents, agent_names, agents
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
    "agent_names",
    "agents",
    "choose_agent",
    "queue_name",
]
