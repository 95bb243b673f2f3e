"""Redis crashes, stops responding, is emptied, closes connections or rejects tasks."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from app.local.servers import ValkeyServer
from tests.faults.clients import Clients
from tests.faults.harness import FaultyPostroom, down, frozen
from tests.postroom import until

BULK_QUEUE = "postroom:deliver.bulk"


@pytest.fixture
def postroom_with_long_leases(postroom: FaultyPostroom) -> Iterator[FaultyPostroom]:
    """A Postroom whose messages wait longer for their task than a test waits for messages."""
    postroom.kill("worker")
    postroom.start(workers=1, POSTROOM_QUEUE_LEASE_SECONDS="120")
    yield postroom
    postroom.kill("worker")


def test_messages_whose_tasks_redis_rejects_are_due_at_once(
    postroom_with_long_leases: FaultyPostroom,
) -> None:
    postroom = postroom_with_long_leases
    released = "SELECT count(*) FROM messages WHERE reason LIKE 'task could not be published%%'"
    for command in ("CLIENT PAUSE 60000 WRITE", "CONFIG SET maxmemory 1"):
        with postroom.redis() as client:
            try:
                client.execute_command(*command.split())
                postroom.submit(200, "bulk")
                until(lambda: postroom.query(released) == [(200,)], "all are released", 30)
            finally:
                client.execute_command("CLIENT", "UNPAUSE")
                client.config_set("maxmemory", 0)
        postroom.mark_fault_over()
        postroom.account()


def killed(valkey: ValkeyServer) -> AbstractContextManager[None]:
    return down(valkey, valkey.kill)


@pytest.mark.parametrize(
    ("outage", "seconds"),
    [
        pytest.param(killed, 4, id="killed"),
        pytest.param(frozen, 16, id="frozen"),  # longer than `health_check_interval` and a timeout
    ],
)
def test_messages_are_accepted_and_none_is_lost_while_redis_is_down(
    postroom: FaultyPostroom,
    outage: Callable[[ValkeyServer], AbstractContextManager[None]],
    seconds: int,
) -> None:
    postroom.start(workers=2, beats=1, web=True)
    postroom.sandbox.control("*", {"slow_seconds": 1})
    postroom.submit(150, "bulk")
    until(lambda: postroom.count("sending") >= 32, "sends are in flight")
    with outage(postroom.valkey):
        ends_at = time.monotonic() + seconds
        with Clients(postroom) as clients:
            pass
        time.sleep(max(0, ends_at - time.monotonic()))
    postroom.mark_fault_over()
    postroom.sandbox.control("*", {})
    postroom.account()
    clients.check_stored_once()


def test_workers_with_waiting_retries_survive_a_crash_of_redis(postroom: FaultyPostroom) -> None:
    # Celery 5.7.0 crashes when it restores them; see `tasks.broker`.
    postroom.start(workers=2)
    postroom.sandbox.control("*", {"status": 503, "retry_after_seconds": 9}, times=20)
    postroom.submit(20, "bulk")
    with postroom.redis() as client:
        until(lambda: client.hlen("postroom:unacked") >= 10, "Celery retries wait in the workers")
    with down(postroom.valkey, postroom.valkey.kill):
        time.sleep(2)  # the workers notice, and fail to connect again
    postroom.mark_fault_over()
    postroom.account()


@pytest.mark.parametrize(
    ("refuse", "accept"),
    [
        pytest.param("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0", id="full"),
        pytest.param("REPLICAOF 127.0.0.1 9", "REPLICAOF NO ONE", id="read-only"),
    ],
)
def test_workers_survive_a_redis_that_rejects_writes(
    postroom: FaultyPostroom, refuse: str, accept: str
) -> None:
    postroom.start(workers=1)
    workers = postroom.running("worker")
    with postroom.redis() as client:
        client.execute_command(*refuse.split())
        try:
            client.client_kill_filter(_type="normal", skipme=True)
            until(
                lambda: all(
                    "Frequent restarts" in worker.output()[worker.log_start :]
                    or worker.popen.poll() is not None
                    for worker in workers
                ),
                "every worker has tried to connect several times",
            )
        finally:
            client.execute_command(*accept.split())
    assert postroom.running("worker") == workers
    postroom.mark_fault_over()
    postroom.submit(50)
    postroom.account()


def test_queued_messages_survive_a_flush_of_redis(postroom: FaultyPostroom) -> None:
    postroom.start(workers=2)
    postroom.sandbox.control("*", {"slow_seconds": 1})
    postroom.submit(400, "bulk")
    with postroom.redis() as client:
        until(lambda: client.llen(BULK_QUEUE) >= 200, "the tasks are published")
        client.flushall()
    postroom.mark_fault_over()
    postroom.sandbox.control("*", {})
    postroom.account()


def test_no_message_is_lost_when_redis_closes_all_connections(postroom: FaultyPostroom) -> None:
    postroom.start(workers=2)
    postroom.sandbox.control("*", {"status": 503, "retry_after_seconds": 4}, times=10)
    postroom.submit(160)
    until(lambda: postroom.waiting_retries() == 10, "Celery retries wait in the workers")
    postroom.sandbox.control("*", {"slow_seconds": 0.3})
    for sent in (20, 50, 80):
        until(lambda sent=sent: postroom.count("sent") >= sent, "some messages are sent")
        with postroom.redis() as client:
            for kind in ("normal", "pubsub"):
                client.client_kill_filter(_type=kind, skipme=True)
    postroom.mark_fault_over()
    postroom.sandbox.control("*", {})
    postroom.account()


def test_a_task_delivered_ten_times_sends_once(postroom: FaultyPostroom) -> None:
    postroom.start(workers=2)
    postroom.sandbox.control("*", {"slow_seconds": 1})
    postroom.submit(200, "bulk")
    with postroom.redis() as client:
        until(lambda: client.llen(BULK_QUEUE) >= 80, "the tasks are published")
        tasks = client.lrange(BULK_QUEUE, 0, -1)
        assert len(tasks) >= 50
        client.rpush(BULK_QUEUE, *(tasks * 9))
    postroom.mark_fault_over()
    postroom.sandbox.control("*", {})
    postroom.account()
