"""PostgreSQL does not answer any more, though its connections stay open; or somebody holds what
all others need."""

import time

import pytest

from tests.faults.harness import Postroom, frozen, until

TAKE_THE_SCAN_LOCK = """
import time
from app.db import transaction
from app.outbox import claims
with transaction() as connection:
    claims.lock(connection)
    print("locked")
    time.sleep(600)
"""


def test_outcomes_wait_for_a_postgres_that_is_frozen(postroom: Postroom) -> None:
    postroom.environment["POSTROOM_WORKER_CONCURRENCY"] = "64"  # more than it has connections
    postroom.workers(1)
    postroom.sandbox.control("*", {"slow_seconds": 1.5})
    postroom.submit(200, "mms")
    until(lambda: postroom.sandbox.count()["total"] >= 100, "sends are in flight")
    with frozen(postroom.postgres):
        time.sleep(14)  # longer than the wait for a connection, shorter than a lease
    postroom.mark_fault_over()
    postroom.account()


@pytest.mark.timeout(180)
def test_a_process_frozen_in_its_scan_does_not_stop_the_others(postroom: Postroom) -> None:
    holder = postroom.python(TAKE_THE_SCAN_LOCK, wait=False)
    until(lambda: "locked" in holder.log.read_text(), "the lock is taken")
    with frozen(holder):
        postroom.workers(1)
        postroom.mark_fault_over()
        postroom.submit(50)
        postroom.account()
