"""Worker metrics for Prometheus, served on `POSTROOM_METRICS_PORT` if that is set.

Gauges of the outbox are not here: the web process reads them from the database.
"""

from typing import Any

from celery.signals import worker_ready
from prometheus_client import Counter, Histogram, start_http_server

from app.outbox.deliver import Delivery
from app.settings import settings

BUCKETS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

ATTEMPTS = Counter("postroom_attempts", "Attempts to send a message", ["agent", "outcome"])
SEND_SECONDS = Histogram(
    "postroom_send_seconds",
    "Duration of provider calls in seconds",
    ["agent"],
    buckets=BUCKETS_SECONDS,
)


def observe(agent: str, delivery: Delivery) -> None:
    """Count one delivery."""
    ATTEMPTS.labels(agent, delivery.result).inc()
    if delivery.duration:
        SEND_SECONDS.labels(agent).observe(delivery.duration.total_seconds())


@worker_ready.connect
def serve(**_: Any) -> None:
    """Serve the metrics from a thread of this worker."""
    if port := settings().metrics_port:
        start_http_server(port, addr=settings().host)
