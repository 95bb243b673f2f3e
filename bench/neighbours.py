"""What one agent feels of another whose provider hangs: the way of its messages at 20 a second,
as in `bench.latency`, before and meanwhile. One web and one worker process serve both."""

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
AT_MOST = 2.0

NOBODY = "+12125550100"


def measure() -> list[Figure]:
    """The rows of the table."""
    with running_stack(("hanging", "neighbour")) as stack:
        stack.run("worker", "app.local.processes", "worker")
        token = stack.run_web()
        _p95(stack, token, range(WARM_UP))
        usual = _p95(stack, token, range(WARM_UP, WARM_UP + MESSAGES))
        _hang(stack)
        meanwhile = _p95(stack, token, range(WARM_UP + MESSAGES, WARM_UP + 2 * MESSAGES))
        # Some were given up and tried again since: the agent was busy all the while.
        _await_hung(stack, MAX_IN_FLIGHT + 1)
    what = f"request → received by the gateway, {EACH_SECOND} a second: p95"
    return [
        Figure(measure=what, value=usual, unit="ms"),
        Figure(measure="  while the provider of another agent hangs", value=meanwhile, unit="ms"),
        Figure(measure="  ratio of the two", value=meanwhile / usual, at_most=AT_MOST),
    ]


def _hang(stack: Stack) -> None:
    """Fill the window of the agent whose provider does not answer."""
    stack.sandbox.control(NOBODY, {"hang": True})
    submission = Submission(channel="sms", agent="hanging", recipient=NOBODY, body="hello")
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
    """How many milliseconds 95 in 100 of these messages take at most."""
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
    """When the gateway took each message, in seconds since the epoch."""
    return {
        int(record["content"]): datetime.fromisoformat(record["received_at"]).timestamp()
        for record in stack.sandbox.received(outcome="accepted")
        if int(record["content"]) in numbers
    }
