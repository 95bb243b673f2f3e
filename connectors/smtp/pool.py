"""A pool of idle SMTP connections."""

import time
from collections import deque
from threading import Lock

from connectors.smtp.connection import Connection
from connectors.smtp.errors import ConnectionLostError
from connectors.smtp.settings import SmtpSettings


class Pool:
    """Idle connections to one server. Safe for use by many threads."""

    def __init__(self, settings: SmtpSettings) -> None:
        self._settings = settings
        self._lock = Lock()
        self._idle: deque[tuple[float, Connection]] = deque()
        self._closed = False

    def acquire(self, deadline: float) -> Connection | None:
        """Return an idle connection that still works, or None.

        Args:
            deadline: When the next use of the connection must end, by the monotonic clock.
        """
        self._close_expired()
        with self._lock:
            if not self._idle:
                return None
            _, connection = self._idle.pop()
        connection.deadline = deadline
        try:
            is_usable = connection.command("RSET").is_positive
        except ConnectionLostError:
            is_usable = False
        if is_usable:
            return connection
        # It was the most recently used. The others have been idle for longer, and testing them one
        # by one could use up the time limit of this message.
        connection.disconnect()
        self._close_all()
        return None

    def release(self, connection: Connection) -> None:
        """Keep the connection for the next message, or close it if it must not be reused."""
        is_reusable = (
            connection.is_open and connection.message_count < self._settings.messages_per_connection
        )
        with self._lock:
            if is_reusable and not self._closed:
                self._idle.append((time.monotonic(), connection))
                return
        connection.disconnect()

    def close(self) -> None:
        """Close all idle connections now, and those in use when they are released."""
        with self._lock:
            self._closed = True
        self._close_all()

    def _close_expired(self) -> None:
        oldest_allowed = time.monotonic() - self._settings.idle_seconds
        expired = []
        with self._lock:
            while self._idle and self._idle[0][0] < oldest_allowed:
                expired.append(self._idle.popleft()[1])
        for connection in expired:
            connection.disconnect()

    def _close_all(self) -> None:
        with self._lock:
            connections = [connection for _, connection in self._idle]
            self._idle.clear()
        for connection in connections:
            connection.disconnect()
