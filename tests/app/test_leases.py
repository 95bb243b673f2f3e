"""Leases: one process at a time, taken over when they have expired."""

import logging
import multiprocessing
import os
import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from app import db, leases


def names(connection: Connection) -> list[str]:
    return [*connection.execute(text("SELECT name FROM leases ORDER BY name")).scalars()]


def expire(connection: Connection, name: str = "work") -> None:
    connection.execute(
        text("UPDATE leases SET lease_until = now() - interval '1 second' WHERE name = :name"),
        {"name": name},
    )


def test_second_holder_gets_the_lease_after_the_first_released_it(connection: Connection) -> None:
    with leases.hold("work") as first, leases.hold("work") as second, leases.hold("other") as other:
        assert (first, second, other) == (True, False, True)
        assert names(connection) == ["other", "work"]
    assert names(connection) == []
    with leases.hold("work") as again:
        assert again


def test_lease_is_released_when_the_work_fails(connection: Connection) -> None:
    with pytest.raises(ZeroDivisionError), leases.hold("work"):
        _ = 1 / 0
    assert names(connection) == []


def test_no_connection_is_held_meanwhile(database: str) -> None:
    with leases.hold("work"):
        pools = (db.engine().pool, db._autocommit_engine().pool)
        assert [pool.checkedout() for pool in pools] == [0, 0]


def test_expired_lease_is_taken_over_and_not_released_by_its_first_holder(
    connection: Connection,
) -> None:
    with leases.hold("work"):
        expire(connection)
        second = leases.hold("work")
        assert second.__enter__()
    assert names(connection) == ["work"]
    second.__exit__(None, None, None)
    assert names(connection) == []


def _hold_and_crash() -> None:
    with leases.hold("work") as is_held:
        os._exit(0 if is_held else 1)


def test_crashed_holder_is_replaced_when_its_lease_has_expired(connection: Connection) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_hold_and_crash)
    process.start()
    process.join()
    assert process.exitcode == 0
    with leases.hold("work") as too_early:
        assert not too_early
    left = connection.execute(text("SELECT lease_until - now() FROM leases")).scalar_one()
    assert timedelta(0) < left <= leases.DURATION
    expire(connection)
    with leases.hold("work") as is_held:
        assert is_held


class Renewal:
    """Wakes the renewal of a lease when the test says so, and not by the clock."""

    def __init__(self) -> None:
        self.wake = threading.Semaphore(0)
        self.waiting = threading.Semaphore(0)

    def wait(self, _seconds: float) -> bool:
        self.waiting.release()
        self.wake.acquire()
        return False

    def run(self, name: str, holder: str) -> threading.Thread:
        thread = threading.Thread(target=leases._renew, args=(name, holder, self), daemon=True)
        thread.start()
        assert self.waiting.acquire(timeout=60)
        return thread


def test_holder_renews_its_lease_until_another_has_taken_it_over(
    connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    assert leases._acquire("work", "first")
    renewal = Renewal()
    thread = renewal.run("work", "first")
    expire(connection)
    renewal.wake.release()
    assert renewal.waiting.acquire(timeout=60)
    assert not leases._acquire("work", "second"), "it has been renewed"

    expire(connection)
    assert leases._acquire("work", "second")
    renewal.wake.release()
    thread.join(60)
    assert "lease work expired and was taken over" in caplog.text


def test_renewal_survives_an_outage_of_the_database(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert leases._acquire("work", "first")
    expire(connection)
    acquire: Callable[[str, str], bool] = leases._acquire
    outages = iter([OperationalError("INSERT", {}, Exception("server closed"))])

    def acquire_after_outage(name: str, holder: str) -> bool:
        for outage in outages:
            raise outage
        return acquire(name, holder)

    monkeypatch.setattr(leases, "_acquire", acquire_after_outage)
    caplog.set_level(logging.WARNING)
    renewal = Renewal()
    renewal.run("work", "first")
    for _ in range(2):
        renewal.wake.release()
        assert renewal.waiting.acquire(timeout=60)
    assert "cannot renew lease work yet: OperationalError" in caplog.text
    assert not acquire("work", "second"), "it has been renewed afterwards"
