"""The listener: a thread in each worker that hears of new messages and scans at once.

All workers listen, one leads: whoever holds an advisory lock on its LISTEN connection scans,
and when that connection ends, PostgreSQL gives the lock to another. Beat scans each minute all
the same: the bell may fail, the clock does not.
"""

import logging
import select
import threading
import time
from contextlib import closing
from datetime import timedelta
from typing import Any

import psycopg2
import redis
from celery import bootsteps
from kombu.exceptions import KombuError
from sqlalchemy.exc import SQLAlchemyError

from app.db import engine
from tasks.maintenance import sweep
from tasks.scan import scan

log = logging.getLogger(__name__)

LOCK_KEY = 0x6C656164  # "lead"
STANDBY_SECONDS = 2.0
SWEEP_SECONDS = 5.0
RECONNECT_SECONDS = 1.0
MIN_PAUSE_SECONDS = 0.015
MAX_PAUSE_SECONDS = 0.1
BROKER_OUTAGE_SECONDS = 1.0


class Listener(bootsteps.StartStopStep):
    """Runs `listen` in a thread while its worker runs."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        super().__init__(worker, **kwargs)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="listener", daemon=True)

    def start(self, worker: Any) -> None:  # noqa: ARG002 - Celery's signature
        self._thread.start()

    def stop(self, worker: Any) -> None:  # noqa: ARG002 - Celery's signature
        self._stopping.set()
        self._thread.join(timeout=5)

    terminate = stop

    def _listen(self) -> None:
        while not self._stopping.is_set():
            try:
                with closing(_connect()) as connection:
                    self._lead(connection)
            except (psycopg2.Error, SQLAlchemyError) as error:
                log.warning("the listener has lost PostgreSQL: %s", _first_line(error))
            except Exception:
                log.exception("the listener failed, and begins again")
            self._stopping.wait(RECONNECT_SECONDS)

    def _lead(self, connection: Any) -> None:
        """Scan at every bell and whenever a message comes due, for as long as this worker leads."""
        while not _try_to_lead(connection):
            if self._stopping.wait(STANDBY_SECONDS):
                return
        log.info("this worker leads the scans")
        pause = MIN_PAUSE_SECONDS
        next_sweep = 0.0
        while not self._stopping.wait(MIN_PAUSE_SECONDS):
            if time.monotonic() >= next_sweep:
                sweep()
                next_sweep = time.monotonic() + SWEEP_SECONDS
            try:
                scanned = scan()
            except (KombuError, redis.RedisError, OSError) as error:
                log.warning("cannot scan: the broker is out of reach: %s", _first_line(error))
                self._stopping.wait(BROKER_OUTAGE_SECONDS)
                continue
            if scanned is None:
                continue
            if scanned.next_due is not None and scanned.next_due <= timedelta(0):
                # Some wait for room. While it is being made, look again at once; else ever later.
                if scanned.queued:
                    pause = MIN_PAUSE_SECONDS
                else:
                    pause = min(pause * 2, MAX_PAUSE_SECONDS)
                    self._await_bell(connection, pause)
            else:
                until_sweep = next_sweep - time.monotonic()
                until_due = (scanned.next_due or timedelta.max).total_seconds()
                self._await_bell(connection, min(until_sweep, until_due))

    def _await_bell(self, connection: Any, timeout_seconds: float) -> None:
        """Return when a message has arrived, or after the timeout, or when the worker stops."""
        until = time.monotonic() + timeout_seconds
        while (left := until - time.monotonic()) > 0 and not self._stopping.is_set():
            if select.select([connection], [], [], min(left, 1.0))[0]:
                connection.poll()
                connection.notifies.clear()
                return


def _connect() -> Any:
    """A connection of its own, outside the pool, that listens."""
    pooled = engine().raw_connection()
    connection: Any = pooled.driver_connection
    pooled.detach()
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("LISTEN outbox")
    return connection


def _try_to_lead(connection: Any) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", (LOCK_KEY,))
        return bool(cursor.fetchone()[0])


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
