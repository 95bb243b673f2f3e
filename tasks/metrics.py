"""What a worker counts for Prometheus, served on `POSTROOM_METRICS_PORT` where that is set.

How much waits is not counted here but read from the database, by the web process.
"""

from typing import Any

from celery.signals import worker_ready
from prometheus_client import Counter, Histogram, start_http_server

from app.outbox.deliver import Delivery
from app.settings import settings

TRIES = Counter("postroom_tries", "Tries to send a message", ["agent", "outcome"])
SECONDS = Histogram(
    "postroom_send_seconds",
    "How long providers took",
    ["agent"],
    buckets=(
        0.005,
        0.01,
        0.025,
        0.05,
        0.1,
        0.25,
        0.5,
        1,
        2.5,
        5,
        10,
        30,
        60,
    ),
)


def observe(agent: str, delivery: Delivery) -> None:
    """Count one delivery."""
    TRIES.labels(agent, delivery.result).inc()
    if delivery.duration:
        SECONDS.labels(agent).observe(delivery.duration.total_seconds())


@worker_ready.connect
def serve(**_: Any) -> None:
    """Answer Prometheus from a thread of this worker."""
    if port := settings().metrics_port:
        start_http_server(port, addr=settings().host)
