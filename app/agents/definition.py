"""The tables of `agents.toml`: agents, their profiles and retry policies, and routes."""

import random
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    StringConstraints,
)

from app.limits import Limit
from connectors.base import Channel

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]

MAX_EXPONENT = 64
"""Keeps the exponential wait of a retry within the range of a float; `cap_seconds` applies long
before."""


def queue_name(agent: str) -> str:
    """Return the name of an agent's Celery task and of that task's queue."""
    return f"deliver.{agent}"


class AgentsError(Exception):
    """`agents.toml` cannot be used. The text has one line per problem, each naming its key."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Retry(_Table):
    """How often an agent tries to send a message, and how long it waits between attempts."""

    attempts: PositiveInt = 8
    base_seconds: PositiveFloat = 2.0
    factor: Annotated[float, Field(ge=1, le=100)] = 3.0
    cap_seconds: Annotated[float, Field(gt=0, le=30 * 86400)] = 3600.0
    jitter: Annotated[float, Field(ge=0, lt=1)] = 0.2

    def wait(self, attempts: int) -> timedelta:
        """Return the wait after this many attempts: exponential, capped, then spread by jitter."""
        exponent = min(attempts - 1, MAX_EXPONENT)
        seconds = min(self.base_seconds * self.factor**exponent, self.cap_seconds)
        spread = random.uniform(1 - self.jitter, 1 + self.jitter)  # noqa: S311 - not a secret
        return timedelta(seconds=seconds * spread)


class Profile(_Table):
    """One identity of an agent. Its settings override those of the agent."""

    settings: dict[str, Any] = {}
    rate_limits: tuple[Limit, ...] = ()


class Agent(_Table):
    """A configured way to send messages: a connector with its settings and limits.

    `max_in_flight` and `rate_limits` apply to all workers together. `worker_rate_limit` is
    Celery's own limit, which each worker applies by itself.
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
        """The name of the agent's Celery task and of that task's queue."""
        return queue_name(self.name)


class Route(_Table):
    """A rule that assigns the messages matching all its conditions to an agent.

    `agent` is a name, or several names with weights to spread the messages by.
    """

    agent: str | dict[str, PositiveInt]
    channel: Channel | None = None
    recipient_prefix: str | None = None
    sender_domain: Annotated[str, StringConstraints(to_lower=True)] | None = None

    def matches(self, channel: str, recipient: str, sender: str | None) -> bool:
        """Return whether this route applies to a message."""
        domain = (sender or "").rpartition("@")[2].rstrip(">").lower()
        return (
            self.channel in {None, channel}
            and recipient.startswith(self.recipient_prefix or "")
            and self.sender_domain in {None, domain}
        )

    def weights(self) -> dict[str, int]:
        """Return the weight of each agent of this route."""
        return {self.agent: 1} if isinstance(self.agent, str) else dict(self.agent)
