"""PostgreSQL restarts, crashes, closes connections or stops responding."""

import signal
import time

import pytest

from tests.faults.clients import Clients
from tests.faults.harness import FaultyPostroom, down, frozen
from tests.postroom import until

HOLD_THE_SCAN_LOCK = """
import time
from app.db import transaction
from app.outbox.claim import lock
with transaction() as connection:
    lock(connection)
    print("locked")
    time.sleep(600)
"""


@pytest.mark.parametrize(
    "stop_signal",
    [
        pytest.param(signal.SIGINT, id="fast shutdown"),
        pytest.param(signal.SIGQUIT, id="immediate shutdown"),
        pytest.param(signal.SIGKILL, id="crash"),
    ],
)
def test_no_message_is_lost_when_postgres_restarts_under_load(
    postroom: FaultyPostroom, stop_signal: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = postroom.postgres
    monkeypatch.setattr(server, "stop_signal", stop_signal)
    postroom.start(workers=2, beats=1, web=True)
    postroom.sandbox.control("*", {"slow_seconds": 0.3})
    postroom.submit(80)
    with Clients(postroom) as clients:
        until(lambda: postroom.count("sent") >= 16, "the first messages are sent")
        clients.await_accepted(20)
        with down(server, server.kill if stop_signal == signal.SIGKILL else server.stop):
            time.sleep(1)  # providers respond to workers that cannot record the outcome
        postroom.mark_fault_over()
        postroom.sandbox.control("*", {})
    postroom.account()
    clients.check_stored_once()


def test_no_message_is_lost_when_postgres_closes_all_connections(
    postroom: FaultyPostroom,
) -> None:
    postroom.start(workers=2, beats=1)
    postroom.sandbox.control("*", {"slow_seconds": 0.3})
    postroom.submit(160)
    for sent in (30, 60, 90):
        until(lambda sent=sent: postroom.count("sent") >= sent, "some messages are sent")
        closed = postroom.query(
            "SELECT pg_terminate_backend(pid), query FROM pg_stat_activity"
            " WHERE datname = current_database() AND usename = current_user"
            " AND pid <> pg_backend_pid()"
        )
        assert any("advisory" in query for _, query in closed)  # the connection of the leader
    postroom.mark_fault_over()
    postroom.sandbox.control("*", {})
    postroom.account()


def test_outcomes_are_recorded_after_postgres_was_frozen(postroom: FaultyPostroom) -> None:
    postroom.start(workers=2)
    postroom.sandbox.control("*", {"slow_seconds": 1.5})
    postroom.submit(160, "bulk")
    until(lambda: postroom.sandbox.count()["total"] >= 60, "sends are in flight")
    with frozen(postroom.postgres):
        time.sleep(12)  # longer than the wait for a connection, shorter than a lease
    postroom.mark_fault_over()
    postroom.account()


def test_scans_continue_when_a_process_is_frozen_during_its_scan(
    postroom: FaultyPostroom,
) -> None:
    postroom.start(workers=1)
    holder = postroom.start_python(HOLD_THE_SCAN_LOCK)
    until(lambda: "locked" in holder.output(), "the scan lock is held")
    with frozen(holder):
        postroom.mark_fault_over()
        postroom.submit(50)
        postroom.account()
    holder.kill()
