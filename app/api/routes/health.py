"""Whether Postroom lives, and its figures for Prometheus."""

from collections.abc import Iterator
from datetime import timedelta
from http import HTTPStatus
from typing import Literal

import psycopg2
from flask import Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from pydantic import BaseModel, Field

from app import db
from app.agents import agents
from app.api.operations import Operation, Section
from app.api.problems import ProblemError
from app.queries import health as probes
from app.queries import overview
from app.settings import settings

section = Section("health")

SCANS_MISSED = 3
OVERDUE = timedelta(minutes=5)


class Health(BaseModel):
    """The state of Postroom. `degraded` where a server is down, or messages do not move: no scan
    for three of its periods, or one that has been due for five minutes and is not being sent,
    while neither the scheduler nor its agent is paused.
    """

    status: Literal["up", "degraded"]
    database: Literal["up", "down", "not migrated"]
    redis: Literal["up", "down"]
    scheduler: Literal["running", "stopped"] | None = Field(
        description="this and what follows is null where the database cannot be asked"
    )
    last_scan_age_seconds: float | None
    oldest_due_age_seconds: float | None = Field(description="null where nothing is due")
    paused_agents: list[str] | None


class Alive(BaseModel):
    """An answer is all that it says."""

    status: Literal["up"] = "up"


@section.serve(Operation("GET", "/health", {HTTPStatus.OK: Health}, public=True))
def health() -> Health:
    """See how everything is. Always 200; the status is in the body."""
    redis: Literal["up", "down"] = "up" if probes.redis_answers() else "down"
    try:
        pulse = probes.pulse([*agents().by_name])
    except (psycopg2.Error, TimeoutError):
        return _unknown("down", redis)
    if pulse is None:
        return _unknown("not migrated", redis)
    moving = redis == "up" and (not pulse.running or not _stuck(pulse))
    return Health(
        status="up" if moving else "degraded",
        database="up",
        redis=redis,
        scheduler="running" if pulse.running else "stopped",
        last_scan_age_seconds=pulse.last_scan_age,
        oldest_due_age_seconds=pulse.oldest_due_age,
        paused_agents=pulse.paused,
    )


@section.serve(Operation("GET", "/health/live", {HTTPStatus.OK: Alive}, public=True))
def live() -> Alive:
    """Answer, whatever else is down."""
    return Alive()


@section.serve(
    Operation(
        "GET",
        "/health/ready",
        {HTTPStatus.OK: Alive},
        public=True,
        problems=frozenset({HTTPStatus.SERVICE_UNAVAILABLE}),
    )
)
def ready() -> Alive:
    """Answer 200 where messages can be accepted: the database is there and migrated."""
    try:
        pulse = probes.pulse([])
    except (psycopg2.Error, TimeoutError):
        raise _not_ready("the database is out of reach") from None
    if pulse is None:
        raise _not_ready("the database is not migrated")
    return Alive()


@section.serve(Operation("GET", "/metrics", {HTTPStatus.OK: CONTENT_TYPE_LATEST}, scope="read"))
def metrics() -> Response:
    """Read the figures of agents and scheduler, for Prometheus."""
    return Response(generate_latest(Outbox()), content_type=CONTENT_TYPE_LATEST)


class Outbox(Collector):
    """The outbox as gauges. Read from the database, so every web process tells the same."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Read everything anew."""
        with db.autocommit() as connection:
            standing = overview.agents(connection, agents().by_name)
            scheduler = overview.scheduler(connection)
            receipts = overview.receipts(connection)
        for name, meaning, values in (
            ("messages_waiting", "Accepted, held by nobody", [one.waiting for one in standing]),
            ("messages_in_flight", "Queued or being sent", [one.in_flight for one in standing]),
            ("messages_sent", "In the last hour", [one.sent_last_hour for one in standing]),
            ("messages_failed", "In the last day", [one.failed_last_day for one in standing]),
            (
                "oldest_due_age_seconds",
                "How long the message due first has been due",
                [one.oldest_due.total_seconds() if one.oldest_due else 0 for one in standing],
            ),
            ("agent_paused", "Whether the agent is paused", [one.paused for one in standing]),
        ):
            family = GaugeMetricFamily(f"postroom_{name}", meaning, labels=["agent"])
            for one, value in zip(standing, values, strict=True):
                family.add_metric([one.code], value)
            yield family
        family = GaugeMetricFamily(
            "postroom_receipts", "In the last hour", labels=["agent", "kind"]
        )
        for labels, number in receipts.items():
            family.add_metric(labels, number)
        yield family
        yield GaugeMetricFamily(
            "postroom_scheduler_running", "Whether anything is sent", scheduler.running
        )
        yield GaugeMetricFamily(
            "postroom_messages_unrouted", "Not given an agent yet", scheduler.unrouted
        )
        if scheduler.last_scan_age is not None:
            yield GaugeMetricFamily(
                "postroom_last_scan_age_seconds",
                "Time since the last scan",
                scheduler.last_scan_age.total_seconds(),
            )


def _stuck(pulse: probes.Pulse) -> bool:
    longest = SCANS_MISSED * settings().scan_seconds
    return (
        pulse.last_scan_age is None
        or pulse.last_scan_age > longest
        or (pulse.oldest_due_age or 0) > OVERDUE.total_seconds()
    )


def _unknown(database: Literal["down", "not migrated"], redis: Literal["up", "down"]) -> Health:
    return Health(
        status="degraded",
        database=database,
        redis=redis,
        scheduler=None,
        last_scan_age_seconds=None,
        oldest_due_age_seconds=None,
        paused_agents=None,
    )


def _not_ready(why: str) -> ProblemError:
    return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, why, headers={"Retry-After": "5"})
