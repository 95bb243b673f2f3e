"""What it takes to play one HTTP provider: a `Provider`, in a file of its own, named in
`sandbox/__main__.py`. Its `read` says what a request is; keeping, misbehaving and answering is
the same for all (`sandbox/http_app.py`)."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

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


class RefusedError(Exception):
    """The request is none that this provider takes; `answer` tells the client why."""

    def __init__(self, status: int, error: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(error)
        self.answer = json_answer(status, {"error": error}, headers)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message as a provider reads it from a request: to whom, under which key it might come
    again, what to show of it, and what to answer when it is taken."""

    to: str
    key: str | None
    details: Mapping[str, Any]
    answer: Answer


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider: its kind in `/received` and `/control`, the path that it owns with all below
    it, and how it reads a request (raises RefusedError)."""

    kind: str
    path: str
    read: Callable[[Request], Delivery]
