"""Health checks."""

from http import HTTPStatus
from typing import Literal

from pydantic import BaseModel

from app.api.operations import Operation, Section
from app.api.problems import ProblemError
from app.queries.health import Health, get_database_status
from app.queries.health import get_health as get

section = Section("health")

DETAILS = {
    "down": "The database is unavailable.",
    "read_only": "The database is read-only.",
    "not_migrated": "The database is not migrated. Run `postroom migrate`.",
}


class Up(BaseModel):
    """The check passed."""

    status: Literal["up"] = "up"


@section.serve(Operation("GET", "/health", {HTTPStatus.OK: Health}, public=True))
def get_health() -> Health:
    """Get the health of PostgreSQL, Redis and the scheduler.

    The response is always 200; `status` has the result.
    """
    return get()


@section.serve(Operation("GET", "/health/live", {HTTPStatus.OK: Up}, public=True))
def get_liveness() -> Up:
    """Check that the web process responds, whatever else is down."""
    return Up()


@section.serve(
    Operation(
        "GET",
        "/health/ready",
        {HTTPStatus.OK: Up},
        public=True,
        problems=frozenset({HTTPStatus.SERVICE_UNAVAILABLE}),
    )
)
def get_readiness() -> Up:
    """Check that messages can be accepted: the database is up, migrated and can be written."""
    status = get_database_status()
    if status != "up":
        raise ProblemError(
            HTTPStatus.SERVICE_UNAVAILABLE, DETAILS[status], headers={"Retry-After": "5"}
        )
    return Up()
