"""A provider that takes every request and answers none."""

from tests.faults.harness import MAX_IN_FLIGHT, Postroom, until


def test_a_hanging_provider_delays_only_its_own_agent(postroom: Postroom) -> None:
    postroom.workers(1)
    postroom.sandbox.control("*", {"hang": True}, kind="gateway")
    postroom.submit(100)
    until(lambda: postroom.count("sending") == MAX_IN_FLIGHT, "the window of the first agent hangs")
    postroom.submit(200, "http")
    sent = "SELECT count(*) FROM messages WHERE agent = 'careful' AND status = 'sent'"
    until(lambda: postroom.query(sent) == [(200,)], "the other agent sends everything")
    assert postroom.sandbox.count()["by_kind"] == {"api": 200}
    postroom.mark_fault_over()
    postroom.sandbox.control("*", {}, kind="gateway")
    postroom.account()
