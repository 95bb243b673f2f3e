"""PostgreSQL notifications: a dedicated connection that listens for new messages."""

import select
import time
from collections.abc import Callable
from typing import Any, Self

from app.db import engine

CHECK_SECONDS = 1.0


class Notifications:
    """A connection of its own, outside the pool, that runs LISTEN outbox.

    Raises psycopg2.Error once the connection is lost. Close it after use.
    """

    def __init__(self) -> None:
        pooled = engine().raw_connection()
        connection: Any = pooled.driver_connection
        pooled.detach()
        self._connection = connection
        self._connection.autocommit = True
        self.execute("LISTEN outbox")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def execute(self, statement: str, *values: object) -> Any:
        """Run a statement and return the first column of its first row, if it has rows."""
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchone()[0] if cursor.description else None

    def wait(self, timeout_seconds: float, is_stopping: Callable[[], bool]) -> set[str]:
        """Return on a notification, after the timeout, or within a second of stopping.

        Returns the payloads of the notifications since the last call.
        """
        until = time.monotonic() + timeout_seconds
        while (left := until - time.monotonic()) > 0 and not is_stopping():
            if select.select([self._connection], [], [], min(left, CHECK_SECONDS))[0]:
                self._connection.poll()
                payloads = {notification.payload for notification in self._connection.notifies}
                self._connection.notifies.clear()
                return payloads
        return set()
