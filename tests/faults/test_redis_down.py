"""Redis ends under running sends, and comes back empty."""

import time

import pytest

from tests.faults.harness import Postroom, down, until


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("end", "outage_seconds"), [("stop", 10), ("kill", 40)])
def test_sends_survive_a_redis_that_is_down(
    postroom: Postroom, end: str, outage_seconds: int
) -> None:
    postroom.workers(2)
    postroom.beat()
    postroom.sandbox.control("*", {"slow_seconds": 1})
    postroom.submit(200, "mms")  # more than the workers have threads, so that some are reserved
    until(lambda: postroom.count("sending") >= 32, "sends are in flight")
    with down(postroom.valkey, getattr(postroom.valkey, end)):
        postroom.submit(50)
        time.sleep(outage_seconds)
    postroom.mark_fault_over()
    postroom.account()


def test_workers_that_hold_waiting_retries_survive_the_end_of_redis(postroom: Postroom) -> None:
    # Those are reserved and not begun, so a worker wants to give them back when it loses Redis;
    # Celery 5.7.0 dies of that without `tasks.broker`.
    postroom.workers(2)
    postroom.sandbox.control("*", {"status": 503, "retry_after_seconds": 9}, times=20)
    postroom.submit(20, "mms")
    with postroom.redis() as client:
        until(lambda: client.hlen("postroom:unacked") == 20, "Celery retries wait in the workers")
    with down(postroom.valkey, postroom.valkey.kill):
        time.sleep(2)  # the workers notice, and fail to connect again
    postroom.mark_fault_over()
    postroom.account()
