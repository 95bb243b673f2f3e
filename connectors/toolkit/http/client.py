"""The one way to a provider over HTTP: pooled connections, hard limits, exact blame.

Built on the transport adapter of `requests`, without its Session: a Session reads proxies and
passwords from the environment, keeps cookies for all threads together, and reads the whole body
of a redirect, however long, even where it does not follow it.

Blame depends on whether the head of the request was written. If it was not, nothing was sent and
the fault is `Unavailable`. If it was, any fault is `Uncertain`, but for one that comes after an
error status: that status says enough.
"""

import http.client
import re
import socket
import ssl
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Generic, TypeVar
from urllib.parse import urlsplit

import requests
import urllib3
from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    StringConstraints,
    model_validator,
)

from connectors.base import Connector, ConnectorSettings, Misconfigured, Unavailable, Uncertain
from connectors.toolkit.guard import ForbiddenAddressError, Networks
from connectors.toolkit.http.connections import BoundedAdapter, Exchange, current_exchange
from connectors.toolkit.http.replies import Response, printable

# More threads than this may send at once; the connections beyond it are just not kept.
POOL_SIZE = 64


def _http_address(address: str) -> str:
    parts = urlsplit(address)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an http:// or https:// address with a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must hold no user name or password")
    if parts.fragment:
        raise ValueError("must hold no fragment")
    if not address.isascii() or not address.isprintable() or {" ", "\\"} & set(address):
        raise ValueError("must be percent-encoded")
    if parts.port == 0:
        raise ValueError("must hold a port between 1 and 65535")
    return address


def _base_address(address: str) -> str:
    if "?" in address:
        raise ValueError("must hold no query")
    return address.rstrip("/")


def is_header(name: str, value: str) -> bool:
    """Whether this may go out as one header line (RFC 9110, 5.1 and 5.5)."""
    return bool(_HEADER_NAME.fullmatch(name)) and _is_header_value(value)


def _is_header_value(value: str) -> bool:
    return value.isascii() and value.isprintable() and value == value.strip()


def _header_secret(secret: SecretStr) -> SecretStr:
    if not _is_header_value(secret.get_secret_value()):
        raise ValueError("must be printable ASCII without a space at either end")
    return secret


_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

HttpUrl = Annotated[str, AfterValidator(_http_address)]
BaseUrl = Annotated[HttpUrl, AfterValidator(_base_address)]
"""An address that paths are appended to: without a query, and without a slash at its end."""
HeaderName = Annotated[str, StringConstraints(pattern=rf"^{_HEADER_NAME.pattern}$")]
HeaderSecret = Annotated[SecretStr, AfterValidator(_header_secret)]
Seconds = Annotated[float, Field(gt=0, le=300, allow_inf_nan=False)]


class HttpSettings(ConnectorSettings):
    """The limits of every HTTP connector.

    A slow name lookup, which no program can interrupt, may take longer than they say; the request
    is then not sent any more.
    """

    connect_timeout_seconds: Seconds = 5
    """How long the connection to one address of the host may take, and then the TLS handshake."""
    read_timeout_seconds: Seconds = 15
    """How long each silence of the provider may be."""
    total_timeout_seconds: Seconds = 30
    """How long a request may take as a whole."""
    response_limit_bytes: int = Field(default=262_144, gt=0)
    """How much of a reply is read."""
    allow_networks: Networks = ()
    """Networks that are not public and may be connected to all the same: `10.1.0.0/16`,
    `loopback` or `private`."""

    @model_validator(mode="after")
    def _total_is_the_longest(self) -> "HttpSettings":
        if self.total_timeout_seconds < max(
            self.connect_timeout_seconds, self.read_timeout_seconds
        ):
            raise ValueError("total_timeout_seconds must not be below the other two limits")
        return self


class HttpClient:
    """Sends requests within the limits of `settings`. Used by many threads at once.

    Keeps connections alive, verifies TLS against the CA bundle of certifi, follows no redirect,
    keeps no cookie, uses no proxy.
    """

    def __init__(self, settings: HttpSettings) -> None:
        self._settings = settings
        self._adapter = BoundedAdapter(pool_maxsize=POOL_SIZE, pool_block=False)

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        json: Any = None,
        form: Mapping[str, str] | None = None,
    ) -> Response:
        """Send one request, with at most one of `body`, `json` and `form`, and read its reply.

        Any complete reply is returned, whatever its status. Raises Unavailable where nothing was
        sent, Uncertain where the request was and no complete reply came, Misconfigured where the
        host is in no network that we may connect to.
        """
        prepared = requests.Request(
            method,
            url,
            # Compression would save nothing on replies this short.
            headers={"User-Agent": "postroom", "Accept-Encoding": "identity", **(headers or {})},
            data=body if form is None else form,
            json=json,
        ).prepare()
        exchange = Exchange(
            time.monotonic() + self._settings.total_timeout_seconds,
            self._settings.connect_timeout_seconds,
            self._settings.read_timeout_seconds,
            self._settings.allow_networks,
        )
        token = current_exchange.set(exchange)
        try:
            reply = self._adapter.send(
                prepared,
                stream=True,
                timeout=(
                    self._settings.connect_timeout_seconds,
                    self._settings.read_timeout_seconds,
                ),
                verify=True,
            )
            return self._read(reply)
        except ForbiddenAddressError as forbidden:
            raise Misconfigured(
                "forbidden_address", f"{forbidden}; name its network in allow_networks"
            ) from None
        except _FAULTS as fault:
            raise _blame(fault, exchange) from None
        finally:
            current_exchange.reset(token)

    def _read(self, reply: requests.Response) -> Response:
        limit = self._settings.response_limit_bytes
        try:
            body = reply.raw.read(limit + 1, decode_content=True)
        except _FAULTS:
            if reply.status_code < 300:
                raise
            return Response(reply.status_code, reply.headers, truncated=True)
        finally:
            # A connection with something left to read is closed, any other is kept.
            reply.close()
        return Response(reply.status_code, reply.headers, body[:limit], len(body) > limit)

    def close(self) -> None:
        """Close the connections that are kept."""
        self._adapter.close()


_FAULTS = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
)

# A certificate that cannot be verified is no Misconfigured: mostly it has expired, which the
# provider mends without us. The messages wait, and nothing is sent to whoever is there.
_CODES: tuple[tuple[type[Exception], str], ...] = (
    (socket.gaierror, "name_not_resolved"),
    (ssl.SSLError, "tls_failed"),
    (TimeoutError, "timed_out"),
    (ConnectionRefusedError, "connection_refused"),
)


def _blame(fault: Exception, exchange: Exchange) -> Unavailable | Uncertain:
    """What a fault of the transport means. The texts of requests and urllib3 quote the address,
    which may hold secrets or the recipient, so only the error beneath them is told.
    """
    cause: BaseException = fault
    while beneath := cause.__cause__ or cause.__context__:
        cause = beneath
    code = next((code for kind, code in _CODES if isinstance(cause, kind)), "connection_failed")
    reason = cause.strerror if isinstance(cause, OSError) else None
    detail = printable(f"{type(cause).__name__}: {reason}" if reason else type(cause).__name__)
    return Uncertain(code, detail) if exchange.head_written else Unavailable(code, detail)


H = TypeVar("H", bound=HttpSettings)


class HttpConnector(Connector[H], Generic[H]):
    """A connector that speaks HTTP, one request for one `send`, through `self.http`."""

    def __init__(self, settings: H) -> None:
        super().__init__(settings)
        self.http = HttpClient(settings)

    @property
    def deadline(self) -> timedelta:
        return timedelta(seconds=self.settings.total_timeout_seconds)

    def close(self) -> None:
        self.http.close()
