"""HTTP connections with a total time limit that record whether a request was written.

urllib3 limits only each wait on the socket, so a server that sends a byte now and then could hold
a thread forever, and its exceptions do not show whether a request was sent. Both are solved at the
socket, for plain and TLS connections alike.
"""

import http.client
import io
import socket
import time
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import NewConnectionError
from urllib3.util.connection import create_connection

from connectors.toolkit import guard

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# If a server closes an idle connection while a request is being written, it is unknown whether the
# server read it. Gunicorn closes after 2 s, Node and Apache after 5 s, so connections are dropped
# earlier. (urllib3 itself never reuses a connection that is already closed.)
MAX_IDLE_SECONDS = 1.5


@dataclass
class Exchange:
    """One request and its response.

    Attributes:
        deadline: When the exchange must be over, by `time.monotonic()`.
        connect_timeout_seconds: The maximum time to connect to one address.
        read_timeout_seconds: The maximum time to wait for data.
        networks: The networks that may be connected to besides public ones.
        head_written: Whether the head of the request was written.
    """

    deadline: float
    connect_timeout_seconds: float
    read_timeout_seconds: float
    networks: tuple[guard.Network, ...] = ()
    head_written: bool = False

    def remaining_seconds(self) -> float:
        """Return the time until the deadline, which is more than zero.

        Raises:
            TimeoutError: The deadline has passed.
        """
        remaining = self.deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("the total time limit is exceeded")
        return remaining


# The exchange of the current thread: neither requests nor urllib3 has a parameter that passes it
# down to the socket.
current_exchange: ContextVar[Exchange] = ContextVar("current_exchange")


class _BoundedReader(io.RawIOBase):
    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._file = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int | None:
        exchange = current_exchange.get()
        self._socket.settimeout(min(exchange.read_timeout_seconds, exchange.remaining_seconds()))
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


class _BoundedReply(http.client.HTTPResponse):
    """Reads the status line, the headers and the body through a `_BoundedReader`."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp.close()
        self.fp = io.BufferedReader(_BoundedReader(sock))


class _BoundedHTTPConnection(HTTPConnection):
    response_class = _BoundedReply
    _used_at = 0.0

    @property
    def is_connected(self) -> bool:
        idle_seconds = time.monotonic() - self._used_at
        return idle_seconds < MAX_IDLE_SECONDS and super().is_connected

    def _new_conn(self) -> socket.socket:
        exchange = current_exchange.get()
        assert self.port is not None  # noqa: S101 - only narrows the type: a pool always has one
        failure: OSError | None = None
        for address in guard.resolve(self._dns_host, self.port, exchange.networks):
            timeout = min(exchange.connect_timeout_seconds, exchange.remaining_seconds())
            try:
                return create_connection(
                    (address, self.port), timeout, socket_options=self.socket_options
                )
            except OSError as error:
                failure = error
        raise NewConnectionError(self, "no address of the host accepts connections") from failure

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        exchange = current_exchange.get()
        self.sock.settimeout(exchange.remaining_seconds())
        super().send(data)
        # The first data is the whole head. If sending it fails, the provider has received at most
        # a part of it and cannot act on it.
        exchange.head_written = True

    # urllib3 returns its own kind of response, unlike http.client.
    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]
        reply = super().getresponse()
        self._used_at = time.monotonic()
        return reply


class _BoundedHTTPSConnection(_BoundedHTTPConnection, HTTPSConnection):
    pass


class BoundedAdapter(HTTPAdapter):
    """The adapter of `requests` for connections that obey the `current_exchange`."""

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> HTTPConnectionPool:
        pool = cast(HTTPConnectionPool, super().get_connection_with_tls_context(*args, **kwargs))
        pool.ConnectionCls = (
            _BoundedHTTPSConnection if pool.scheme == "https" else _BoundedHTTPConnection
        )
        return pool
