"""Pause and resume all sending."""

from datetime import datetime
from http import HTTPStatus
from typing import Literal

from pydantic import BaseModel, Field
from sqlalchemy import Connection

from app import db
from app.agents import agents
from app.api import security
from app.api.operations import Operation, Section
from app.outbox import claim, pause
from app.queries import overview

section = Section("scheduler")


class SchedulerView(BaseModel):
    """The state of the scheduler and of its scans."""

    status: Literal["running", "paused"]
    changed_by: str | None = Field(description="Who paused or resumed it last.")
    changed_at: datetime
    last_scan_at: datetime | None
    last_scan_age_seconds: float | None
    oldest_due_age_seconds: float | None = Field(description="`null` if no message is due.")
    unrouted: int = Field(description="Messages without an agent yet; the next scan chooses one.")
    unparsed: int = Field(description="Webhooks and e-mails that could not be parsed.")


@section.serve(Operation("GET", "/api/scheduler", {HTTPStatus.OK: SchedulerView}, scope="read"))
def get_scheduler() -> SchedulerView:
    """Get the state of the scheduler."""
    with db.autocommit() as connection:
        return _view(connection)


@section.serve(
    Operation("POST", "/api/scheduler/pause", {HTTPStatus.OK: SchedulerView}, scope="operate")
)
def pause_scheduler() -> SchedulerView:
    """Pause all sending.

    Messages are still accepted, and wait. Sends in progress finish.
    """
    with db.transaction() as connection:
        pause.pause_scheduler(connection, by=security.client().name)
        return _view(connection)


@section.serve(
    Operation("POST", "/api/scheduler/resume", {HTTPStatus.OK: SchedulerView}, scope="operate")
)
def resume_scheduler() -> SchedulerView:
    """Resume sending. Messages that wait for a retry are due now.

    Agents that are paused individually stay paused.
    """
    with db.transaction() as connection:
        pause.resume_scheduler(connection, by=security.client().name)
        return _view(connection)


@section.serve(
    Operation("POST", "/api/scheduler/toggle", {HTTPStatus.OK: SchedulerView}, scope="operate")
)
def toggle_scheduler() -> SchedulerView:
    """Pause the scheduler if it is running; resume it if it is paused."""
    with db.transaction() as connection:
        claim.lock(connection)  # or two toggles at once could make the same change
        change = (
            pause.pause_scheduler
            if overview.get_scheduler(connection).running
            else pause.resume_scheduler
        )
        change(connection, by=security.client().name)
        return _view(connection)


@section.serve(
    Operation("POST", "/api/scheduler/run-now", {HTTPStatus.OK: SchedulerView}, scope="operate")
)
def run_scan() -> SchedulerView:
    """Scan for due messages now.

    Nothing is sent while the scheduler is paused.
    """
    with db.transaction() as connection:
        pause.notify(connection)
        return _view(connection)


def _view(connection: Connection) -> SchedulerView:
    scheduler = overview.get_scheduler(connection)
    oldest = overview.get_oldest_due(connection, agents().by_name).values()
    last_scan_age = scheduler.last_scan_age
    return SchedulerView(
        status="running" if scheduler.running else "paused",
        changed_by=scheduler.changed_by,
        changed_at=scheduler.changed_at,
        last_scan_at=scheduler.last_scan_at,
        last_scan_age_seconds=None if last_scan_age is None else last_scan_age.total_seconds(),
        oldest_due_age_seconds=max(oldest).total_seconds() if oldest else None,
        unrouted=scheduler.unrouted,
        unparsed=scheduler.unparsed,
    )
