"""Latency from submission to the provider at 20 messages per second.

There is one web and one worker process. Time is measured from when a message is due to be
submitted, before the request is sent, until the gateway has read it. So it includes the whole
submission.
"""

import asyncio
import statistics
from datetime import datetime

from bench.client import submit_paced
from bench.figures import Figure, percentiles
from bench.stack import running_stack, wait_until_all_sent

EACH_SECOND = 20
WARM_UP = 60
MESSAGES = 400
CONNECTIONS = 8


def measure() -> list[Figure]:
    with running_stack() as stack:
        stack.run("worker", "app.local.processes", "worker")
        token = stack.run_web()
        _submit(token, range(WARM_UP))
        wait_until_all_sent()
        submitted = _submit(token, range(WARM_UP, WARM_UP + MESSAGES))
        wait_until_all_sent()
        received = {
            int(record["content"]): datetime.fromisoformat(record["received_at"]).timestamp()
            for record in stack.sandbox.received()
        }
    arrivals = [
        1000 * (received[number] - due) for number, (due, _) in enumerate(submitted, WARM_UP)
    ]
    answers = [1000 * (answered - due) for due, answered in submitted]
    p50, p95, p99 = percentiles(arrivals, 50, 95, 99)
    name = f"request → received by the gateway, {EACH_SECOND} a second"
    return [
        Figure(measure=f"{name}: p50", value=p50, unit="ms", at_most=50),
        Figure(measure=f"{name}: p95", value=p95, unit="ms"),
        Figure(measure=f"{name}: p99", value=p99, unit="ms", at_most=250),
        Figure(measure="  request → 202: p50", value=statistics.median(answers), unit="ms"),
    ]


def _submit(token: str, numbers: range) -> list[tuple[float, float]]:
    return asyncio.run(submit_paced(token, numbers, EACH_SECOND, CONNECTIONS))
