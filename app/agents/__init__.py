"""The agents of `agents.toml`: definition, registry and routing."""

from app.agents.registry import (
    Agent,
    Agents,
    AgentsError,
    Name,
    Profile,
    Retry,
    Route,
    UnroutableError,
    agents,
)

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
]
