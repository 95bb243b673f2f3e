"""Keeps SMTP connections that are between two messages."""

import time
from collections import deque
from threading import Lock

from connectors.smtp.connection import Connection, LostError
from connectors.smtp.settings import SmtpSettings


class Pool:
    """Idle connections of one server, for many threads. Whoever took one has it alone."""

    def __init__(self, settings: SmtpSettings) -> None:
        self._settings = settings
        self._lock = Lock()
        self._idle: deque[tuple[float, Connection]] = deque()
        self._closed = False

    def take(self, ends_at: float) -> Connection | None:
        """A connection on which the server still answers, its time ending at `ends_at`; None
        where there is none.
        """
        self._leave_stale()
        with self._lock:
            if not self._idle:
                return None
            _, connection = self._idle.pop()
        connection.ends_at = ends_at
        try:
            answers = connection.command("RSET").positive
        except LostError:
            answers = False
        if answers:
            return connection
        # It was the last in use. Those that were longer idle will fare no better, and finding
        # that out one by one could take all the time of this message.
        connection.leave()
        self._leave_all()
        return None

    def put(self, connection: Connection) -> None:
        """Keep the connection for the next message, if it is fit for one."""
        fit = connection.is_open and connection.begun < self._settings.messages_per_connection
        with self._lock:
            if fit and not self._closed:
                self._idle.append((time.monotonic(), connection))
                return
        connection.leave()

    def close(self) -> None:
        """Leave all connections, and any that is put back later."""
        with self._lock:
            self._closed = True
        self._leave_all()

    def _leave_stale(self) -> None:
        oldest_allowed = time.monotonic() - self._settings.idle_seconds
        stale = []
        with self._lock:
            while self._idle and self._idle[0][0] < oldest_allowed:
                stale.append(self._idle.popleft()[1])
        for connection in stale:
            connection.leave()

    def _leave_all(self) -> None:
        with self._lock:
            left = [connection for _, connection in self._idle]
            self._idle.clear()
        for connection in left:
            connection.leave()
