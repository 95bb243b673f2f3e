"""What scans: the beats, which are the clock, and the listeners, who hear the bell."""

from contextlib import closing

import psycopg2

from tasks.leader import LOCK_KEY as LEAD
from tests.faults.harness import Postroom, until


def test_two_beats_and_two_listeners_send_nothing_twice(postroom: Postroom) -> None:
    postroom.workers(2)
    postroom.beat()
    postroom.beat()
    postroom.mark_fault_over()
    for wave in range(1, 9):
        postroom.submit(50)
        until(lambda least=wave: postroom.count("sent") >= 40 * least, "most of it is sent")
    postroom.account()


def test_a_killed_beat_stops_nothing(postroom: Postroom) -> None:
    postroom.workers(1)
    beat = postroom.beat()
    postroom.sandbox.control("*", {"status": 503, "retry_after_seconds": 4}, times=10)
    postroom.submit(200)
    until(lambda: postroom.count("sent") >= 40, "the first messages are sent")
    beat.kill()
    postroom.mark_fault_over()
    postroom.account()


def test_where_no_bell_is_heard_the_clock_of_a_second_beat_scans(postroom: Postroom) -> None:
    with closing(psycopg2.connect(postroom.database_url)) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", (LEAD,))
        postroom.workers(1)
        killed = postroom.beat()
        postroom.submit(50, "mms")
        until(lambda: postroom.count("sent") == 50, "the first beat has all sent")
        postroom.beat()
        killed.kill()
        postroom.mark_fault_over()
        postroom.submit(50, "mms")
        postroom.account()


def test_another_worker_leads_when_the_leader_is_killed(postroom: Postroom) -> None:
    workers = postroom.workers(2)
    postroom.submit(50)
    until(lambda: postroom.count("sent") == 50, "the leader has all sent")
    (leader,) = [worker for worker in workers if "leads the scans" in worker.log.read_text()]
    leader.kill()
    postroom.mark_fault_over()
    postroom.submit(50)
    postroom.account()
