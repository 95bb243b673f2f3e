"""The HTTP client of every connector: pooled connections, hard limits, precise failures.

It uses the transport adapter of `requests` without its Session. A Session reads proxies and
passwords from the environment, shares cookies between threads, and reads the whole body of a
redirect, however long, even if it does not follow it.

A failure is classified by whether the head of the request was written. If it was not, nothing was
sent and the failure is Unavailable. If it was, any failure is Uncertain, except one that follows
an error status: that status already decides.
"""

import http.client
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Generic, TypeVar

import requests
import urllib3

from connectors.base import Connector, Misconfigured, Unavailable, Uncertain
from connectors.toolkit.guard import ForbiddenAddressError
from connectors.toolkit.http.connections import BoundedAdapter, Exchange, current_exchange
from connectors.toolkit.http.replies import Response
from connectors.toolkit.http.settings import HttpSettings
from connectors.toolkit.transport import classify_failure

# More threads than this may send at once; connections beyond it are closed after use.
POOL_SIZE = 64

_FAILURES = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
)


class HttpClient:
    """Sends HTTP requests within the limits of its settings. Safe to use from several threads.

    It reuses connections and verifies TLS certificates with the CA bundle of certifi. It follows
    no redirects, stores no cookies and uses no proxy.
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
        """Send a request with at most one of `body`, `json` and `form`, and return its response.

        Every complete response is returned, whatever its status.

        Raises:
            Unavailable: Nothing was sent.
            Uncertain: The request was sent, but no complete response arrived.
            Misconfigured: The host is not in a network that may be connected to.
        """
        prepared = requests.Request(
            method,
            url,
            # Compression would save nothing on such short responses.
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
        except ForbiddenAddressError as error:
            raise Misconfigured(
                "forbidden_address", f"{error}; add its network to allow_networks"
            ) from None
        except _FAILURES as error:
            failure = classify_failure(error)
            outcome = Uncertain if exchange.head_written else Unavailable
            raise outcome(failure.code, failure.detail) from None
        finally:
            current_exchange.reset(token)

    def _read(self, reply: requests.Response) -> Response:
        limit = self._settings.response_limit_bytes
        try:
            body = reply.raw.read(limit + 1, decode_content=True)
        except _FAILURES:
            if reply.status_code < 300:
                raise
            return Response(reply.status_code, reply.headers, truncated=True)
        finally:
            # Returns the connection to the pool, or closes it if there is more to read.
            reply.close()
        return Response(reply.status_code, reply.headers, body[:limit], len(body) > limit)

    def close(self) -> None:
        """Close the pooled connections."""
        self._adapter.close()


H = TypeVar("H", bound=HttpSettings)


class HttpConnector(Connector[H], Generic[H]):
    """Base class of connectors that send each message with one HTTP request by `self.http`."""

    def __init__(self, settings: H) -> None:
        super().__init__(settings)
        self.http = HttpClient(settings)

    @property
    def send_timeout(self) -> timedelta:
        return timedelta(seconds=self.settings.total_timeout_seconds)

    def close(self) -> None:
        self.http.close()
