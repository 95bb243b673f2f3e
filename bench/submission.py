"""Submissions per second through the API with one web worker. The client is a process."""

import asyncio
import multiprocessing
import statistics
from collections.abc import Coroutine
from concurrent.futures import ProcessPoolExecutor

from bench.client import Client, call_steadily
from bench.figures import Figure, percentiles
from bench.stack import running_stack

CONNECTIONS = 8
WARM_UP_SECONDS = 2.0
SECONDS = 5.0
RUNS = 3


def measure() -> list[Figure]:
    context = multiprocessing.get_context("spawn")
    with (
        running_stack() as stack,
        ProcessPoolExecutor(max_workers=1, mp_context=context) as executor,
    ):
        token = stack.run_web()
        executor.submit(_submit, token, WARM_UP_SECONDS).result()
        runs = [executor.submit(_submit, token, SECONDS).result() for _ in range(RUNS)]
    each_second = statistics.median(len(durations) / SECONDS for durations in runs)
    p50, p95 = (
        1000 * statistics.median(values)
        for values in zip(*(percentiles(durations, 50, 95) for durations in runs), strict=True)
    )
    name = f"submission, 1 web worker, {CONNECTIONS} clients"
    return [
        Figure(measure=name, value=each_second, unit="a second"),
        Figure(measure=f"{name}: p50", value=p50, unit="ms"),
        Figure(measure=f"{name}: p95", value=p95, unit="ms"),
    ]


def _submit(token: str, seconds: float) -> list[float]:
    def submit(client: Client, number: int) -> Coroutine[None, None, None]:
        return client.submit(token, number)

    return asyncio.run(call_steadily(submit, 0, seconds, CONNECTIONS))
