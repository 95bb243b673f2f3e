"""A worker or a beat is killed, frozen or stopped, or a provider holds a worker."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg2

from tasks.leader import LOCK_KEY
from tests.faults.harness import MAX_IN_FLIGHT, FaultyPostroom, frozen
from tests.postroom import until


def test_a_killed_leader_costs_at_most_its_sends_in_flight(postroom: FaultyPostroom) -> None:
    postroom.start(workers=2)
    # The gateway never accepts; the API has accepted before the worker can record it.
    postroom.sandbox.control("*", {"hang": True}, kind="gateway")
    postroom.sandbox.control("*", {"slow_seconds": 1.5}, kind="api")
    for agent in ("gateway", "bulk", "careful"):
        postroom.submit(60, agent)
    until(
        lambda: (
            all(postroom.count("sending", agent) >= 8 for agent in ("gateway", "bulk"))
            and postroom.count("sending", "careful") >= 4
        ),
        "sends are in flight",
    )
    postroom.leader().kill()
    postroom.shorten_leases(10)
    postroom.mark_fault_over()
    postroom.sandbox.control("*", {}, kind="gateway")
    postroom.sandbox.control("*", {}, kind="api")
    postroom.await_finished()
    assert postroom.lost_sends("bulk") > 0
    postroom.account(max_doubled=postroom.lost_sends("bulk"), ends=("sent", "unknown"))
    assert postroom.count("unknown") == postroom.lost_sends("careful")


def test_a_hanging_provider_delays_only_its_own_agent(postroom: FaultyPostroom) -> None:
    postroom.start(workers=1)
    postroom.sandbox.control("*", {"hang": True}, kind="gateway")
    postroom.submit(60)
    until(lambda: postroom.count("sending") == MAX_IN_FLIGHT, "sends to the gateway hang")
    postroom.submit(200, "careful")
    until(lambda: postroom.count("sent", "careful") == 200, "the other agent has sent everything")
    assert postroom.sandbox.count()["by_kind"] == {"api": 200}
    postroom.mark_fault_over()
    postroom.sandbox.control("*", {}, kind="gateway")
    postroom.account()


def test_two_workers_and_two_beats_send_nothing_twice(postroom: FaultyPostroom) -> None:
    postroom.start(workers=2, beats=2)
    postroom.mark_fault_over()
    for wave in range(1, 7):
        postroom.submit(40)
        until(lambda wave=wave: postroom.count("sent") >= 30 * wave, "most are sent")
    postroom.account()


def test_the_remaining_beat_scans_when_one_is_killed_and_no_worker_leads(
    postroom: FaultyPostroom,
) -> None:
    postroom.start(workers=1, beats=2)
    with _leader_lock_held(postroom):
        postroom.submit(50, "bulk")
        until(lambda: postroom.count("sent") == 50, "the beats have everything sent")
        postroom.running("beat")[0].kill()
        postroom.mark_fault_over()
        postroom.submit(50, "bulk")
        postroom.account()


@contextmanager
def _leader_lock_held(postroom: FaultyPostroom) -> Iterator[None]:
    """Take the leadership from the workers for the block, so that notifications have no effect."""
    with closing(psycopg2.connect(postroom.database_url)) as connection:
        connection.autocommit = True

        def take() -> bool:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks"
                    " WHERE locktype = 'advisory' AND objid = %s AND granted"
                    " AND pid <> pg_backend_pid()",
                    (LOCK_KEY,),
                )
                cursor.execute("SELECT pg_try_advisory_lock(%s)", (LOCK_KEY,))
                return bool(cursor.fetchone()[0])

        until(take, "the test holds the lock of the leader")
        yield


def test_a_worker_frozen_past_its_leases_doubles_at_most_its_sends_in_flight(
    postroom: FaultyPostroom,
) -> None:
    postroom.start(workers=2, beats=1)
    postroom.sandbox.control("*", {"slow_seconds": 1.5})
    postroom.submit(60)
    until(lambda: postroom.count("sending") == MAX_IN_FLIGHT, "all capacity is used")
    with frozen(postroom.leader()):
        until(lambda: postroom.count("sending") < MAX_IN_FLIGHT, "the other worker finishes some")
        in_flight = postroom.count("sending")
        postroom.shorten_leases(10)
        postroom.mark_fault_over()
        postroom.await_finished()
    postroom.account(max_doubled=in_flight)


def test_a_stopped_worker_finishes_its_sends(postroom: FaultyPostroom) -> None:
    postroom.start(workers=2)
    postroom.sandbox.control("*", {"status": 503, "retry_after_seconds": 4}, times=10)
    postroom.submit(60)
    until(lambda: postroom.waiting_retries() == 10, "Celery retries wait in the workers")
    postroom.sandbox.control("*", {"slow_seconds": 1})
    until(lambda: postroom.count("sending") >= 4, "sends are in flight")
    assert postroom.running("worker")[0].stop() == 0
    postroom.mark_fault_over()
    postroom.account()
    assert postroom.lost_sends("gateway") == 0
