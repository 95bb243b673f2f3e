"""A worker that is killed, frozen or stopped in the middle of its sends."""

import pytest

from tests.faults.harness import MAX_IN_FLIGHT, Postroom, frozen, until

SLOW = {"slow_seconds": 1.5}


def _in_the_middle(postroom: Postroom, channel: str = "sms") -> None:
    """Bring 200 messages on their way; some have arrived when this returns."""
    postroom.submit(200, channel)
    until(lambda: postroom.count("sent") >= 40, "the first messages are sent")


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("channel", "provider", "ends"),
    [
        pytest.param("sms", {"hang": True}, ["sent"], id="before the provider accepted"),
        pytest.param("sms", SLOW, ["sent"], id="after the provider accepted"),
        pytest.param(
            "http", SLOW, ["sent", "unknown"], id="after it accepted, never blindly again"
        ),
    ],
)
def test_a_killed_worker_costs_at_most_the_sends_in_flight(
    postroom: Postroom, channel: str, provider: dict[str, object], ends: list[str]
) -> None:
    doomed, *_ = postroom.workers(1)
    _in_the_middle(postroom, channel)
    postroom.sandbox.control("*", provider)
    until(lambda: postroom.count("sending") >= 8, "sends are in flight")
    doomed.kill()
    postroom.mark_fault_over()
    postroom.sandbox.control("*", {})
    postroom.workers(1)
    postroom.await_end()
    [(in_flight,)] = postroom.query("SELECT count(*) FROM attempts WHERE code = 'worker_lost'")
    doubles = in_flight if provider == SLOW and channel == "sms" else 0
    postroom.account(doubled_at_most=doubles, ends=ends)
    assert postroom.count("unknown") == (in_flight if "unknown" in ends else 0)


def test_a_worker_frozen_past_its_leases_doubles_no_more_than_it_held(postroom: Postroom) -> None:
    frozen_one, _ = postroom.workers(2)
    postroom.beat()
    postroom.sandbox.control("*", {"slow_seconds": 1.5})
    postroom.submit(60)
    until(lambda: postroom.count("sending") == MAX_IN_FLIGHT, "the window is full")
    with frozen(frozen_one):
        until(
            lambda: postroom.count("sending") < MAX_IN_FLIGHT, "the other worker finishes its own"
        )
        in_flight = postroom.count("sending")
        postroom.mark_fault_over()
        postroom.await_end()
    postroom.account(doubled_at_most=in_flight)


def test_a_worker_told_to_stop_finishes_its_sends(postroom: Postroom) -> None:
    stopped, _ = postroom.workers(2)
    postroom.sandbox.control("*", {"status": 503, "retry_after_seconds": 4}, times=10)
    postroom.submit(100)
    until(lambda: postroom.waiting_retries() == 10, "Celery retries wait in the workers")
    postroom.sandbox.control("*", {"slow_seconds": 1})
    until(lambda: postroom.count("sending") >= 4, "sends are in flight")
    assert stopped.stop() == 0
    postroom.mark_fault_over()
    postroom.account()
    assert postroom.query("SELECT count(*) FROM attempts WHERE code = 'worker_lost'") == [(0,)]
