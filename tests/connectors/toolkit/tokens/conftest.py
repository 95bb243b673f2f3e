"""A token source with a clock, an endpoint and a store that the test controls."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from connectors.base import SendError
from connectors.toolkit import tokens
from connectors.toolkit.tokens import ProcessStore, Token, TokenSource

SECRET = b"s3cret-of-ours"


@dataclass
class Clock:
    """A clock that only the test advances. It records which threads have read it."""

    seconds: float = 1000.0
    seen_by: dict[str, threading.Event] = field(default_factory=dict)

    def __call__(self) -> float:
        if seen := self.seen_by.get(threading.current_thread().name):
            seen.set()
        return self.seconds


@dataclass
class Endpoint:
    """Returns the tokens t1, t2 and so on, or fails."""

    lifetime_seconds: float = 3600
    fetches: int = 0
    failure: SendError | None = None
    before: Callable[[], object] = lambda: None
    value: Callable[[int], str] = "t{}".format

    def __call__(self) -> Token:
        self.fetches += 1
        self.before()
        if self.failure:
            raise self.failure
        return Token(self.value(self.fetches), timedelta(seconds=self.lifetime_seconds))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(tokens, "monotonic", clock)
    return clock


@pytest.fixture
def store() -> Iterator[ProcessStore]:
    store = ProcessStore()
    tokens.use_store(store)
    yield store
    tokens.use_store(ProcessStore())


@pytest.fixture
def endpoint() -> Endpoint:
    return Endpoint()


@pytest.fixture
def make_source(
    clock: Clock, store: ProcessStore, endpoint: Endpoint
) -> Callable[..., TokenSource]:
    """Create sources of one identity, each like one in another process."""

    def make(name: str = "client at endpoint", secret: bytes = SECRET) -> TokenSource:
        return TokenSource(name, secret, endpoint, timedelta(seconds=10))

    return make


@pytest.fixture
def source(make_source: Callable[..., TokenSource]) -> TokenSource:
    return make_source()
