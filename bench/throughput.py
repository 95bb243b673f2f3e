"""Messages per second, from the outbox to the provider, and empty Celery tasks per second."""

import statistics
import time

import redis
from sqlalchemy import text

from app.db import autocommit, transaction
from app.outbox import pause
from app.outbox.store import store
from app.settings import settings
from app.submission.submission import Submission
from bench.empty import DONE_KEY, done, empty
from bench.figures import Figure
from bench.stack import running_stack, wait_until, wait_until_all_sent
from tasks import celery

MESSAGES = 5000
WARM_UP = 500
RUNS = 3
BATCH = 500

# Measured by the database, so that it does not matter when the end is noticed.
SECONDS_TAKEN = text("""
SELECT extract(epoch FROM max(finished_at) - (SELECT changed_at FROM scheduler_state))
FROM messages WHERE finished_at IS NOT NULL
""")


def measure() -> list[Figure]:
    with running_stack() as stack, redis.Redis.from_url(settings().redis_url) as client:
        stack.run("worker", "celery", "-A", "tasks", "worker", "-l", "WARNING", "-I", "bench.empty")
        _empty_rate(client, WARM_UP)
        _message_rate(WARM_UP)
        rates = [(_empty_rate(client, MESSAGES), _message_rate(MESSAGES)) for _ in range(RUNS)]
        received = stack.sandbox.count()
    if not received["total"] == received["distinct"] == WARM_UP + RUNS * MESSAGES:
        raise RuntimeError(f"the gateway received {received}")
    empty_rate, message_rate = (statistics.median(column) for column in zip(*rates, strict=True))
    ratio = statistics.median(message / idle for idle, message in rates)
    return [
        Figure(measure="empty Celery tasks", value=empty_rate, unit="a second"),
        Figure(measure="messages, submission excluded", value=message_rate, unit="a second"),
        Figure(measure="messages to empty tasks", value=ratio, at_least=0.4),
    ]


def _empty_rate(client: "redis.Redis", count: int) -> float:
    client.delete(DONE_KEY)
    started = time.monotonic()
    with celery.producer_pool.acquire(block=True) as producer:
        with producer.batch(max_size=BATCH):
            for _ in range(count):
                empty.apply_async(producer=producer)
        done.apply_async(producer=producer)
    wait_until(lambda: bool(client.exists(DONE_KEY)), "empty tasks")
    return count / (time.monotonic() - started)


def _message_rate(count: int) -> float:
    with transaction() as connection:
        pause.pause_scheduler(connection, by="bench")
        submission = Submission(
            channel="sms", agent="gateway", recipient="+12025550100", body="hello"
        )
        for _ in range(count // BATCH):
            store(connection, [submission] * BATCH, "bench")
    with transaction() as connection:
        pause.resume_scheduler(connection, by="bench")
    wait_until_all_sent()
    with autocommit() as connection:
        return count / float(connection.execute(SECONDS_TAKEN).scalar_one())
