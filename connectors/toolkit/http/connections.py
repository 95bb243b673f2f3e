"""HTTP connections that end in time and know what they have written.

urllib3 limits each wait on the socket, so a server that sends a byte now and then holds a thread
for ever; and its exceptions do not tell a request that never left from one that did. Both are
mended where they arise, at the socket, for plain and TLS connections alike.
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

# A server that closes an idle connection just as we write to it leaves us not knowing whether it
# read the request. Gunicorn closes after 2 s, Node and Apache after 5 s: we stop using one before.
# (One that is seen closed is never used again: urllib3 looks before each request.)
IDLE_LIMIT_SECONDS = 1.5


@dataclass
class Exchange:
    """One request and its reply: when it must be over, by `time.monotonic()`, which networks it
    may go to beside the public ones, and whether the head of the request was written.
    """

    deadline: float
    connect_timeout_seconds: float
    read_timeout_seconds: float
    networks: tuple[guard.Network, ...] = ()
    head_written: bool = False

    def remaining_seconds(self) -> float:
        """More than zero. Raises TimeoutError where nothing remains."""
        remaining = self.deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("the total limit is used up")
        return remaining


# The exchange of the calling thread: neither requests nor urllib3 has a parameter that would
# carry it down to the socket.
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
    """Reads status line, headers and body alike through a `_BoundedReader`."""

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
        return idle_seconds < IDLE_LIMIT_SECONDS and super().is_connected

    def _new_conn(self) -> socket.socket:
        exchange = current_exchange.get()
        assert self.port is not None  # noqa: S101 - only narrows the type: a pool always has one
        fault: OSError | None = None
        for address in guard.resolve(self._dns_host, self.port, exchange.networks):
            timeout = min(exchange.connect_timeout_seconds, exchange.remaining_seconds())
            try:
                return create_connection(
                    (address, self.port), timeout, socket_options=self.socket_options
                )
            except OSError as error:
                fault = error
        raise NewConnectionError(self, "no address of the host answers") from fault

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        exchange = current_exchange.get()
        self.sock.settimeout(exchange.remaining_seconds())
        super().send(data)
        # The first data is the whole head. Where sending that failed, the provider has at most
        # a part of it and can do nothing.
        exchange.head_written = True

    # urllib3 returns its own kind of response where http.client returns another.
    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]
        reply = super().getresponse()
        self._used_at = time.monotonic()
        return reply


class _BoundedHTTPSConnection(_BoundedHTTPConnection, HTTPSConnection):
    pass


class BoundedAdapter(HTTPAdapter):
    """The transport of requests over connections that obey the `current_exchange`."""

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> HTTPConnectionPool:
        pool = cast(HTTPConnectionPool, super().get_connection_with_tls_context(*args, **kwargs))
        pool.ConnectionCls = (
            _BoundedHTTPSConnection if pool.scheme == "https" else _BoundedHTTPConnection
        )
        return pool
