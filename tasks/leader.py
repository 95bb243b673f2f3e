"""Leader election: one worker at a time scans on notification.

All workers run this step; the one that holds an advisory lock leads. The lock belongs to its
LISTEN connection: when that ends, PostgreSQL gives the lock to another worker. Beat scans each
minute as well, in case a notification is lost.
"""

import logging
import threading
from typing import Any

import psycopg2
from celery import bootsteps
from sqlalchemy.exc import SQLAlchemyError

from tasks.notifications import Notifications
from tasks.scan_loop import scan_until

log = logging.getLogger(__name__)

LOCK_KEY = 0x6C656164  # "lead"
STANDBY_SECONDS = 2.0
RECONNECT_SECONDS = 1.0


class Leader(bootsteps.StartStopStep):
    """Runs for leadership in a thread while its worker runs."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        super().__init__(worker, **kwargs)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leader", daemon=True)

    def start(self, worker: Any) -> None:  # noqa: ARG002 - Celery's signature
        """Start the thread."""
        self._thread.start()

    def stop(self, worker: Any) -> None:  # noqa: ARG002 - Celery's signature
        """Stop the thread, and wait up to 5 seconds for it."""
        self._stopping.set()
        self._thread.join(timeout=5)

    terminate = stop

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with Notifications() as notifications:
                    if self._await_leadership(notifications):
                        log.info("this worker leads the scans")
                        scan_until(self._stopping, notifications)
            except (psycopg2.Error, SQLAlchemyError) as error:
                log.warning("lost the connection to PostgreSQL: %s", str(error).partition("\n")[0])
            except Exception:
                log.exception("the scan loop failed; restarting it")
            self._stopping.wait(RECONNECT_SECONDS)

    def _await_leadership(self, notifications: Notifications) -> bool:
        """Return True once this worker leads, False if the worker stops first."""
        while not notifications.execute("SELECT pg_try_advisory_lock(%s)", LOCK_KEY):
            if self._stopping.wait(STANDBY_SECONDS):
                return False
        return True
