"""The SQL statements and round trips per message.

They are counted between the processes and PostgreSQL, so they include transactions, scans and
rescues.
"""

import asyncio
import os
from collections.abc import Callable

from app.db import transaction
from app.outbox.store import store
from app.submission.submission import Submission
from bench.client import RECIPIENTS, submit_paced
from bench.figures import Figure
from bench.proxy import Queries, counting_proxy
from bench.stack import running_stack, wait_until_all_sent

EACH_SECOND = 20
MESSAGES = 100
CONNECTIONS = 4
AT_ONCE = 1000


def measure() -> list[Figure]:
    with (
        running_stack() as stack,
        counting_proxy(os.environ["DATABASE_URL"]) as by_web,
        counting_proxy(os.environ["DATABASE_URL"]) as by_worker,
    ):
        stack.run("worker", "app.local.processes", "worker", DATABASE_URL=by_worker.url)
        token = stack.run_web(DATABASE_URL=by_web.url)

        def submit(first: int) -> int:
            numbers = range(first, first + MESSAGES)
            asyncio.run(submit_paced(token, numbers, EACH_SECOND, CONNECTIONS))
            wait_until_all_sent()
            return MESSAGES

        _store_at_once()  # opens the connections
        submit(0)
        return [
            *_count("submission, to a known recipient", by_web, lambda: submit(RECIPIENTS)),
            *_count("submission, to a new recipient", by_web, lambda: submit(MESSAGES)),
            *_count(f"delivery, {EACH_SECOND} a second", by_worker, lambda: submit(2 * MESSAGES)),
            *_count(f"delivery, {AT_ONCE:,} at once", by_worker, _store_at_once),
        ]


def _store_at_once() -> int:
    submission = Submission(channel="sms", agent="gateway", recipient="+12125550100", body="hello")
    with transaction() as connection:
        store(connection, [submission] * AT_ONCE, "bench")
    wait_until_all_sent()
    return AT_ONCE


def _count(name: str, queries: Queries, act: Callable[[], int]) -> list[Figure]:
    """Return the queries of a process per message, while `act` sends as many as it returns."""
    statements, round_trips = queries.statements, queries.round_trips
    messages = act()
    return [
        Figure(
            measure=name,
            value=(queries.statements - statements) / messages,
            unit="SQL statements a message",
        ),
        Figure(
            measure=name,
            value=(queries.round_trips - round_trips) / messages,
            unit="SQL round trips a message",
        ),
    ]
