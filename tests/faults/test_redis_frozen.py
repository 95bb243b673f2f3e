"""Redis does not answer any more, though its connections stay open."""

import time

import pytest

from tests.faults.harness import Postroom, frozen, until


@pytest.mark.timeout(240)
@pytest.mark.parametrize("outage_seconds", [10, 40])
def test_sends_survive_a_redis_that_is_frozen(postroom: Postroom, outage_seconds: int) -> None:
    postroom.workers(2)
    postroom.beat()
    postroom.sandbox.control("*", {"slow_seconds": 1})
    postroom.submit(200, "mms")
    until(lambda: postroom.count("sending") >= 32, "sends are in flight")
    with frozen(postroom.valkey):
        postroom.submit(50)
        time.sleep(outage_seconds)
    postroom.mark_fault_over()
    postroom.account()
