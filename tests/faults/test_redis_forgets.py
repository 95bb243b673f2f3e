"""Redis loses what it was told, or its clients."""

import pytest

from tests.faults.harness import Postroom, until


@pytest.mark.timeout(180)
def test_500_queued_messages_survive_a_flush(postroom: Postroom) -> None:
    postroom.workers(2)
    postroom.sandbox.control("*", {"slow_seconds": 1})
    postroom.submit(500, "mms")
    with postroom.redis() as client:
        until(lambda: client.llen("postroom:deliver.bulk") >= 300, "the tasks are published")
        client.flushall()
    postroom.mark_fault_over()
    postroom.sandbox.control("*", {})
    postroom.account()


def test_sends_survive_that_redis_cuts_every_connection(postroom: Postroom) -> None:
    postroom.workers(1)
    postroom.sandbox.control("*", {"status": 503, "retry_after_seconds": 4}, times=10)
    postroom.submit(200)
    until(lambda: postroom.waiting_retries() == 10, "Celery retries wait in the workers")
    postroom.sandbox.control("*", {"slow_seconds": 0.3})
    for least_sent in (20, 60, 100):
        until(lambda least=least_sent: postroom.count("sent") >= least, "some are sent")
        with postroom.redis() as client:
            for kind in ("normal", "pubsub"):
                client.client_kill_filter(_type=kind, skipme=True)
    postroom.mark_fault_over()
    postroom.account()


def test_a_task_delivered_ten_times_sends_once(postroom: Postroom) -> None:
    postroom.environment["POSTROOM_QUEUE_LEASE_SECONDS"] = "60"  # longer than a worker's start
    postroom.submit(50, "mms")
    postroom.python("import tasks.deliver; from tasks.scan import scan; scan()")
    with postroom.redis() as client:
        queue = "postroom:deliver.bulk"
        tasks = client.lrange(queue, 0, -1)
        assert len(tasks) == 50
        client.rpush(queue, *(tasks * 9))
    postroom.mark_fault_over()
    postroom.workers(2)
    postroom.account()


@pytest.mark.parametrize("refuse", ["CLIENT PAUSE 60000 WRITE", "CONFIG SET maxmemory 1"])
def test_messages_whose_tasks_redis_does_not_take_are_due_at_once(
    postroom: Postroom, refuse: str
) -> None:
    postroom.environment["POSTROOM_QUEUE_LEASE_SECONDS"] = "60"  # so that no lease saves the day
    postroom.workers(1)
    given_back = "SELECT count(*) FROM messages WHERE reason = 'the broker did not take its task'"
    with postroom.redis() as client:
        try:
            client.execute_command(*refuse.split())
            postroom.submit(200, "mms")
            until(lambda: postroom.query(given_back) == [(200,)], "all are given back", 30)
        finally:
            client.execute_command("CLIENT", "UNPAUSE")
            client.config_set("maxmemory", 0)
    postroom.mark_fault_over()
    postroom.account()
