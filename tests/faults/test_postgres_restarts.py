"""PostgreSQL is restarted under load, or ends every connection."""

import signal
import time

import pytest

from tests.faults.harness import Postroom, down, until


def _under_load(postroom: Postroom) -> None:
    postroom.workers(2)
    postroom.beat()
    postroom.sandbox.control("*", {"slow_seconds": 0.4})
    postroom.submit(300)
    until(lambda: postroom.count("sent") >= 40, "the first messages are sent")


@pytest.mark.timeout(180)
@pytest.mark.parametrize("stop_signal", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
def test_sends_survive_a_restart_of_postgres(
    postroom: Postroom, stop_signal: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postroom.postgres, "stop_signal", stop_signal)
    _under_load(postroom)
    with down(postroom.postgres, postroom.postgres.stop):
        time.sleep(2)  # the provider answers to a worker whose database is not there
    postroom.mark_fault_over()
    postroom.account()


def test_a_postgres_that_is_killed_loses_nothing_it_confirmed(postroom: Postroom) -> None:
    _under_load(postroom)
    with down(postroom.postgres, postroom.postgres.kill):
        pass
    postroom.mark_fault_over()
    postroom.account()


def test_sends_survive_that_every_backend_is_terminated(postroom: Postroom) -> None:
    _under_load(postroom)
    for least_sent in (80, 120, 160):
        until(lambda least=least_sent: postroom.count("sent") >= least, "some are sent")
        ended = postroom.query(
            "SELECT pg_terminate_backend(pid), query FROM pg_stat_activity"
            " WHERE datname = current_database() AND usename = current_user"
            " AND pid <> pg_backend_pid()"
        )
        assert any("advisory" in query for _, query in ended)  # the listener that leads
    postroom.mark_fault_over()
    postroom.account()
