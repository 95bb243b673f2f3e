"""How much an agent is delayed by another agent whose provider hangs.

The latency of its messages at 20 per second, as in `bench.latency`, is measured before and during
the outage. One web and one worker process serve both agents.
"""

import asyncio
from datetime import datetime

from app.db import transaction
from app.outbox.store import store
from app.submission.submission import Submission
from bench.client import submit_paced
from bench.figures import Figure, percentiles
from bench.stack import MAX_IN_FLIGHT, Stack, running_stack, wait_until

EACH_SECOND = 20
WARM_UP = 60
MESSAGES = 300
CONNECTIONS = 8
WAITING = 1000
MAX_RATIO = 2.0

HANGING_RECIPIENT = "+12125550100"


def measure() -> list[Figure]:
    with running_stack(("hanging", "neighbour")) as stack:
        stack.run("worker", "app.local.processes", "worker")
        token = stack.run_web()
        _p95(stack, token, range(WARM_UP))
        usual = _p95(stack, token, range(WARM_UP, WARM_UP + MESSAGES))
        _hang(stack)
        meanwhile = _p95(stack, token, range(WARM_UP + MESSAGES, WARM_UP + 2 * MESSAGES))
        # Some have timed out and been retried since, so the agent was busy all the time.
        _await_hung(stack, MAX_IN_FLIGHT + 1)
    name = f"request → received by the gateway, {EACH_SECOND} a second: p95"
    return [
        Figure(measure=name, value=usual, unit="ms"),
        Figure(measure="  while the provider of another agent hangs", value=meanwhile, unit="ms"),
        Figure(measure="  ratio of the two", value=meanwhile / usual, at_most=MAX_RATIO),
    ]


def _hang(stack: Stack) -> None:
    """Fill the capacity of the agent whose provider does not respond."""
    stack.sandbox.control(HANGING_RECIPIENT, {"hang": True})
    submission = Submission(
        channel="sms", agent="hanging", recipient=HANGING_RECIPIENT, body="hello"
    )
    with transaction() as connection:
        store(connection, [submission] * WAITING, "bench")
    _await_hung(stack, MAX_IN_FLIGHT)


def _await_hung(stack: Stack, count: int) -> None:
    wait_until(
        lambda: stack.sandbox.count()["by_outcome"].get("hung", 0) >= count,
        f"{count} messages hang",
        pause_seconds=0.1,
    )


def _p95(stack: Stack, token: str, numbers: range) -> float:
    """Return the 95th percentile of the latency in milliseconds."""
    submitted = asyncio.run(
        submit_paced(token, numbers, EACH_SECOND, CONNECTIONS, agent="neighbour")
    )
    wait_until(lambda: len(_received(stack, numbers)) == len(numbers), "all are received")
    received = _received(stack, numbers)
    [p95] = percentiles(
        [
            1000 * (received[number] - due)
            for number, (due, _) in zip(numbers, submitted, strict=True)
        ],
        95,
    )
    return p95


def _received(stack: Stack, numbers: range) -> dict[int, float]:
    """Return when the gateway received each message, in seconds since the epoch."""
    return {
        int(record["content"]): datetime.fromisoformat(record["received_at"]).timestamp()
        for record in stack.sandbox.received(outcome="accepted")
        if int(record["content"]) in numbers
    }
