"""Metrics of the outbox for Prometheus.

They are read from the database, so every web process reports the same.
"""

from collections.abc import Iterator
from http import HTTPStatus

from flask import Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from app import db
from app.agents import agents
from app.api.operations import Operation, Section
from app.queries import overview
from app.queries.overview import AgentOverview, SchedulerOverview

section = Section("metrics")


@section.serve(Operation("GET", "/metrics", {HTTPStatus.OK: CONTENT_TYPE_LATEST}, scope="read"))
def get_metrics() -> Response:
    """Get metrics on agents, receipts and the scheduler, in the format of Prometheus."""
    return Response(generate_latest(Outbox()), content_type=CONTENT_TYPE_LATEST)


class Outbox(Collector):
    """The state of the outbox as gauges."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Read all gauges from the database."""
        with db.autocommit() as connection:
            figures = overview.list_agents(connection, agents().by_name)
            scheduler = overview.get_scheduler(connection)
            receipts = overview.count_receipts(connection)
        yield from _agent_gauges(figures)
        yield _receipt_gauge(receipts)
        yield from _scheduler_gauges(scheduler)


def _agent_gauges(figures: list[AgentOverview]) -> Iterator[GaugeMetricFamily]:
    gauges: tuple[tuple[str, str, list[float]], ...] = (
        ("messages_waiting", "Messages waiting, due or not", [one.waiting for one in figures]),
        ("messages_in_flight", "Messages queued or being sent", [one.in_flight for one in figures]),
        (
            "messages_sent",
            "Messages sent in the last hour",
            [one.sent_last_hour for one in figures],
        ),
        (
            "messages_failed",
            "Messages failed, unknown or bounced in the last day",
            [one.failed_last_day + one.unknown_last_day + one.bounced_last_day for one in figures],
        ),
        (
            "messages_expired",
            "Messages expired in the last day",
            [one.expired_last_day for one in figures],
        ),
        (
            "oldest_due_age_seconds",
            "How long the oldest due message has been due",
            [one.oldest_due.total_seconds() if one.oldest_due else 0 for one in figures],
        ),
        ("agent_paused", "Whether the agent is paused", [one.paused for one in figures]),
    )
    for name, documentation, values in gauges:
        family = GaugeMetricFamily(f"postroom_{name}", documentation, labels=["agent"])
        for one, value in zip(figures, values, strict=True):
            family.add_metric([one.agent], value)
        yield family


def _receipt_gauge(receipts: dict[tuple[str, str], int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(
        "postroom_receipts", "Receipts in the last hour", labels=["agent", "kind"]
    )
    for labels, number in receipts.items():
        family.add_metric(labels, number)
    return family


def _scheduler_gauges(scheduler: SchedulerOverview) -> Iterator[GaugeMetricFamily]:
    yield GaugeMetricFamily(
        "postroom_scheduler_running", "Whether the scheduler is running", scheduler.running
    )
    yield GaugeMetricFamily(
        "postroom_messages_unrouted", "Messages without an agent yet", scheduler.unrouted
    )
    yield GaugeMetricFamily(
        "postroom_inbound_unparsed",
        "Webhooks and e-mails that could not be parsed",
        scheduler.unparsed,
    )
    if scheduler.last_scan_age is not None:
        yield GaugeMetricFamily(
            "postroom_last_scan_age_seconds",
            "Time since the last scan",
            scheduler.last_scan_age.total_seconds(),
        )
