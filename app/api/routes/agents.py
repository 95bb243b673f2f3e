"""List, pause and resume agents."""

from http import HTTPStatus
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from app import db
from app.agents import Agent, agents
from app.api import security
from app.api.operations import Operation, Section
from app.errors import NotFoundError
from app.fields import ONE_LINE, Request
from app.outbox import pause
from app.queries import overview
from app.queries.overview import AgentOverview

section = Section("agents")


class PauseRequest(Request):
    """The reason to pause an agent."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "maintenance"}]})

    reason: Annotated[str, Field(max_length=500), ONE_LINE] | None = None


class AgentState(BaseModel):
    """The state of an agent."""

    agent: str
    paused: bool
    reason: str | None = Field(description="Why it is paused.")


class AgentView(AgentState):
    """An agent, its limits and its figures.

    The settings from `agents.toml` are `null` for an agent that has messages but is no longer
    configured.
    """

    connector: str | None
    channels: list[str] | None
    profiles: list[str] | None
    max_in_flight: int | None = Field(
        description="The most messages that may be in flight at a time, over all workers."
    )
    rate_limits: list[str] | None
    waiting: int = Field(description="Messages waiting to be sent, due or not.")
    in_flight: int = Field(description="Messages queued or being sent.")
    sent_last_hour: int
    failed_last_day: int
    unknown_last_day: int
    bounced_last_day: int
    expired_last_day: int
    oldest_due_age_seconds: float | None = Field(description="`null` if no message is due.")


class AgentList(BaseModel):
    """All agents."""

    agents: list[AgentView]


@section.serve(Operation("GET", "/api/agents", {HTTPStatus.OK: AgentList}, scope="read"))
def list_agents() -> AgentList:
    """List agents with the number of messages waiting, in flight, sent and failed.

    Messages that were rejected or expired before they had an agent are under the agent `""`.
    """
    configured = agents().by_name
    with db.autocommit() as connection:
        found = overview.list_agents(connection, configured)
    return AgentList(agents=[_view(one, configured.get(one.agent)) for one in found])


@section.serve(
    Operation(
        "POST",
        "/api/agents/<agent>/pause",
        {HTTPStatus.OK: AgentState},
        scope="operate",
        body=PauseRequest,
        body_required=False,
    )
)
def pause_agent(agent: str, body: PauseRequest | None) -> AgentState:
    """Pause an agent.

    Its messages are still accepted, and wait. Sends in progress finish.
    """
    _check_exists(agent)
    reason = body.reason if body else None
    with db.transaction() as connection:
        pause.pause_agent(connection, agent, reason=reason, by=security.client().name)
    return AgentState(agent=agent, paused=True, reason=reason)


@section.serve(
    Operation("POST", "/api/agents/<agent>/resume", {HTTPStatus.OK: AgentState}, scope="operate")
)
def resume_agent(agent: str) -> AgentState:
    """Resume a paused agent. Its messages that wait for a retry are due now."""
    _check_exists(agent)
    with db.transaction() as connection:
        pause.resume_agent(connection, agent, by=security.client().name)
    return AgentState(agent=agent, paused=False, reason=None)


def _check_exists(agent: str) -> None:
    if agent not in agents().by_name:
        raise NotFoundError("There is no such agent.")


def _view(figures: AgentOverview, agent: Agent | None) -> AgentView:
    oldest = figures.oldest_due
    return AgentView(
        agent=figures.agent,
        paused=figures.paused,
        reason=figures.paused_reason,
        connector=agent and agent.connector,
        channels=agent and sorted(agent.channels),
        profiles=agent and sorted(agent.profiles),
        max_in_flight=agent and agent.max_in_flight,
        rate_limits=agent and [str(limit) for limit in agent.rate_limits],
        waiting=figures.waiting,
        in_flight=figures.in_flight,
        sent_last_hour=figures.sent_last_hour,
        failed_last_day=figures.failed_last_day,
        unknown_last_day=figures.unknown_last_day,
        bounced_last_day=figures.bounced_last_day,
        expired_last_day=figures.expired_last_day,
        oldest_due_age_seconds=None if oldest is None else oldest.total_seconds(),
    )
