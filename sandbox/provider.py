"""What it takes to play one HTTP provider: a `Provider`, in a file of its own, named in
`sandbox/__main__.py`. Its `read` says what a request is; keeping, misbehaving and answering is
the same for all (`sandbox/http_app.py`)."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sandbox.callbacks import CallbackRequest

SHOWN_HEADERS = ("idempotency-key", "message-id", "content-type", "user-agent")
CREDENTIAL_HEADERS = ("authorization", "proxy-authorization", "x-ins-auth-key", "api-key")


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request: `path` and `query` as sent, header names in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    def shown_headers(self) -> dict[str, str]:
        """The headers worth keeping; of credentials only that they were there."""
        shown = {name: self.headers[name] for name in SHOWN_HEADERS if name in self.headers}
        shown.update((name, "present") for name in CREDENTIAL_HEADERS if name in self.headers)
        return shown


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP response."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def json_answer(status: int, value: Any, headers: Mapping[str, str] | None = None) -> Answer:
    """A response that carries `value` as JSON."""
    return Answer(status, json.dumps(value).encode(), headers=headers or {})


class AnsweredError(Exception):
    """The request brings no message: it is answered with `answer`, in the provider's own shape."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class RefusedError(AnsweredError):
    """The request is none that this provider takes; `{"error": …}` tells the client why."""

    def __init__(self, status: int, error: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(json_answer(status, {"error": error}, headers))


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message as a provider reads it from a request: to whom, under which key it might come
    again, what to show of it, what to answer when it is taken, what changes at the provider then,
    and the calls that follow."""

    to: str
    key: str | None
    details: Mapping[str, Any]
    answer: Answer
    on_taken: Callable[[], object] = lambda: None
    callbacks: Sequence[CallbackRequest] = ()


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider: its kind in `/received` and `/control`, the path that it owns with all below
    it, and how it reads a request: as a message, or (raises AnsweredError) as what brings none and
    is answered at once."""

    kind: str
    path: str
    read: Callable[[Request], Delivery]
