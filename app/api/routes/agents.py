"""The agents: how each stands, and pausing one of them."""

from http import HTTPStatus
from typing import Annotated

from pydantic import BaseModel, Field

from app import db
from app.agents import Agent, agents
from app.api import security
from app.api.operations import Operation, Section
from app.api.problems import ProblemError
from app.fields import ONE_LINE, Request
from app.outbox import pause as pauses
from app.queries import overview

section = Section("agents")


class Pause(Request):
    """Why an agent is paused."""

    reason: Annotated[str, Field(max_length=500), ONE_LINE] | None = None


class AgentState(BaseModel):
    """Whether an agent sends."""

    code: str
    paused: bool
    reason: str | None


class AgentView(AgentState):
    """An agent, its limits, and how it stands. What `agents.toml` says of it is null where it has
    messages and is no longer there.
    """

    connector: str | None
    channels: list[str] | None
    profiles: list[str] | None
    max_in_flight: int | None = Field(description="messages in flight at most, over all workers")
    rate_limits: list[str] | None
    waiting: int = Field(description="due or not")
    in_flight: int
    sent_last_hour: int
    failed_last_day: int
    oldest_due_age_seconds: float | None = Field(description="null where nothing is due")


class AgentList(BaseModel):
    """Every agent."""

    agents: list[AgentView]


@section.serve(Operation("GET", "/api/agents", {HTTPStatus.OK: AgentList}, scope="read"))
def list_agents() -> AgentList:
    """List the agents and what each has waiting, in flight, sent and failed."""
    configured = agents().by_name
    with db.autocommit() as connection:
        standing = overview.agents(connection, configured)
    return AgentList(agents=[_view(one, configured.get(one.code)) for one in standing])


@section.serve(
    Operation(
        "POST",
        "/api/agents/<code>/pause",
        {HTTPStatus.OK: AgentState},
        scope="operate",
        body=Pause,
        body_required=False,
    )
)
def pause(code: str, body: Pause | None) -> AgentState:
    """Pause an agent: its messages are accepted and wait; sends under way end by themselves."""
    _check(code)
    reason = body.reason if body else None
    with db.transaction() as connection:
        pauses.pause_agent(connection, code, reason=reason, by=security.client().name)
    return AgentState(code=code, paused=True, reason=reason)


@section.serve(
    Operation("POST", "/api/agents/<code>/resume", {HTTPStatus.OK: AgentState}, scope="operate")
)
def resume(code: str) -> AgentState:
    """Resume an agent. Does nothing where it is not paused."""
    _check(code)
    with db.transaction() as connection:
        pauses.resume_agent(connection, code, by=security.client().name)
    return AgentState(code=code, paused=False, reason=None)


def _check(code: str) -> None:
    if code not in agents().by_name:
        raise ProblemError(HTTPStatus.NOT_FOUND, "there is no such agent")


def _view(standing: overview.AgentOverview, agent: Agent | None) -> AgentView:
    oldest = standing.oldest_due
    return AgentView(
        code=standing.code,
        paused=standing.paused,
        reason=standing.paused_reason,
        connector=agent and agent.connector,
        channels=agent and sorted(agent.channels),
        profiles=agent and sorted(agent.profiles),
        max_in_flight=agent and agent.max_in_flight,
        rate_limits=agent and [str(limit) for limit in agent.rate_limits],
        waiting=standing.waiting,
        in_flight=standing.in_flight,
        sent_last_hour=standing.sent_last_hour,
        failed_last_day=standing.failed_last_day,
        oldest_due_age_seconds=None if oldest is None else oldest.total_seconds(),
    )
