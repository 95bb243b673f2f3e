"""Start and stop all sending."""

from datetime import datetime
from http import HTTPStatus

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
    """Whether messages are sent, and whether the scan that sends them is alive."""

    running: bool
    status: str = Field(examples=["Scheduler started"])
    changed_by: str | None
    changed_at: datetime
    last_scan_at: datetime | None
    last_scan_age_seconds: float | None
    oldest_due_age_seconds: float | None = Field(description="null where nothing is due")
    unrouted: int = Field(description="messages that no scan has given an agent yet")


@section.serve(Operation("GET", "/api/scheduler", {HTTPStatus.OK: SchedulerView}, scope="read"))
def get_scheduler() -> SchedulerView:
    """See how the scheduler stands."""
    with db.autocommit() as connection:
        return _view(connection)


@section.serve(
    Operation("POST", "/api/scheduler/start", {HTTPStatus.OK: SchedulerView}, scope="operate")
)
def start() -> SchedulerView:
    """Start sending. Does nothing where it runs."""
    with db.transaction() as connection:
        return _set(connection, running=True)


@section.serve(
    Operation("POST", "/api/scheduler/stop", {HTTPStatus.OK: SchedulerView}, scope="operate")
)
def stop() -> SchedulerView:
    """Stop sending.

    Messages are accepted and wait; sends under way end by themselves.
    """
    with db.transaction() as connection:
        return _set(connection, running=False)


@section.serve(
    Operation("POST", "/api/scheduler/toggle", {HTTPStatus.OK: SchedulerView}, scope="operate")
)
def toggle() -> SchedulerView:
    """Stop the scheduler where it runs, and start it where it does not."""
    with db.transaction() as connection:
        claim.lock(connection)  # so that two who toggle at once do not do the same
        return _set(connection, running=not overview.scheduler(connection).running)


@section.serve(
    Operation("POST", "/api/scheduler/run-now", {HTTPStatus.OK: SchedulerView}, scope="operate")
)
def run_now() -> SchedulerView:
    """Scan at once. Sends nothing while the scheduler is stopped."""
    with db.transaction() as connection:
        pause.notify(connection)
        return _view(connection)


def _set(connection: Connection, *, running: bool) -> SchedulerView:
    change = pause.resume_scheduler if running else pause.pause_scheduler
    change(connection, by=security.client().name)
    return _view(connection)


def _view(connection: Connection) -> SchedulerView:
    now = overview.scheduler(connection)
    oldest = overview.oldest_due(connection, agents().by_name).values()
    return SchedulerView(
        running=now.running,
        status="Scheduler started" if now.running else "Scheduler stopped",
        changed_by=now.changed_by,
        changed_at=now.changed_at,
        last_scan_at=now.last_scan_at,
        last_scan_age_seconds=now.last_scan_age and now.last_scan_age.total_seconds(),
        oldest_due_age_seconds=max(oldest).total_seconds() if oldest else None,
        unrouted=now.unrouted,
    )
