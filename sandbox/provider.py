"""The interface of a simulated HTTP provider.

Each provider has its own module with a `Provider`, which is listed in `sandbox/server.py` or, if
only tests use it, in `tests/doubles/__main__.py`. A provider only parses requests; recording,
responding and failing are the same for all of them (`sandbox/http.py`).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sandbox.callbacks import CallbackRequest

RECORDED_HEADERS = ("idempotency-key", "message-id", "content-type", "user-agent")
CREDENTIAL_HEADERS = ("authorization", "proxy-authorization", "x-ins-auth-key", "api-key")


@dataclass(slots=True)
class Request:
    """An HTTP request. `path` and `query` are as sent; header names are in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    def recorded_headers(self) -> dict[str, str]:
        """Return the headers to record. Credentials are replaced by the word `present`."""
        recorded = {name: self.headers[name] for name in RECORDED_HEADERS if name in self.headers}
        recorded.update((name, "present") for name in CREDENTIAL_HEADERS if name in self.headers)
        return recorded

    def media_type(self) -> str:
        """Return the Content-Type in lower case, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(slots=True)
class Response:
    """An HTTP response."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def json_response(status: int, value: Any, headers: Mapping[str, str] | None = None) -> Response:
    """Return a response with `value` as JSON."""
    return Response(status, json.dumps(value).encode(), headers=headers or {})


class ResponseError(Exception):
    """The request is not valid: respond with `response`, in the provider's own format."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


class RefusedError(ResponseError):
    """The request is not valid: respond with `{"error": …}`."""

    def __init__(self, status: int, error: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(json_response(status, {"error": error}, headers))


@dataclass(slots=True)
class Delivery:
    """A message that a provider has read from a request.

    Attributes:
        to: The recipient, by which rules and magic recipients are found.
        key: The same for every attempt to send this message; None if attempts cannot be matched.
        details: The fields to show in `/received`, JSON values only.
        response: The response if the message is accepted.
        on_accepted: Called after the message is accepted.
        callbacks: Sent, in order, after the message is accepted.
    """

    to: str
    key: str | None
    details: Mapping[str, Any]
    response: Response
    on_accepted: Callable[[], object] = lambda: None
    callbacks: Sequence[CallbackRequest] = ()


@dataclass(frozen=True, slots=True)
class Provider:
    """A simulated provider.

    Attributes:
        kind: Its name in `/received` and `/control`.
        path: The first segment of its paths, for example `/gateway`.
        read: Returns the message in a request, or the response to a request without a message.
            Raises ResponseError if the request is not valid.
    """

    kind: str
    path: str
    read: Callable[[Request], Delivery | Response]
