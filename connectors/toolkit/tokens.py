"""Access tokens: fetched ahead of their end, by one at a time for all threads and processes.

A process keeps its token, and puts it, encrypted, into a store that all processes share. Every
lifetime is relative, from `expires_in` to what the store has left of it, so that no clock has to
agree with another.
"""

import json
import logging
import threading
from base64 import urlsafe_b64encode
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from time import monotonic
from typing import Protocol

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from connectors.base import Misconfigured, Rejected, SendError, Unavailable, Uncertain
from connectors.toolkit.http.replies import Response

log = logging.getLogger(__name__)

MAX_USE = timedelta(minutes=55)
MIN_MARGIN = timedelta(seconds=60)
WAIT_AFTER_FAILURE = timedelta(seconds=30)
STORE_LIMIT = timedelta(seconds=5)
"""What reading and writing the store may take beside a fetch."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token as its endpoint gave it out, good for `lifetime` from when it was asked for."""

    value: str = field(repr=False)
    lifetime: timedelta


@dataclass(frozen=True, slots=True)
class Stored:
    """A value in a store, and how much of its lifetime is left."""

    value: bytes
    left: timedelta


class StoreError(Exception):
    """The store is out of reach."""


class TokenStore(Protocol):
    """Where processes share what they know. `read`, `write` and the entry of `lock` raise
    StoreError; the exit of `lock` raises nothing of its own."""

    def read(self, name: str) -> Stored | None:
        """What was written, until its lifetime is over."""

    def write(self, name: str, value: bytes, lifetime: timedelta) -> None:
        """Keep `value` for `lifetime`, in place of an earlier one."""

    def lock(self, name: str, at_most: timedelta) -> AbstractContextManager[None]:
        """Keep others out, for at most this long. Whoever has waited that long for them goes on
        without the lock: two fetches do less harm than none."""


class ProcessStore:
    """A store for the threads of one process."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[bytes, float]] = {}
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def read(self, name: str) -> Stored | None:
        value, ends_at = self._entries.get(name, (b"", 0.0))
        left = ends_at - monotonic()
        return Stored(value, timedelta(seconds=left)) if left > 0 else None

    def write(self, name: str, value: bytes, lifetime: timedelta) -> None:
        self._entries[name] = value, monotonic() + lifetime.total_seconds()

    @contextmanager
    def lock(self, name: str, at_most: timedelta) -> Iterator[None]:
        lock = self._locks[name]
        acquired = lock.acquire(timeout=at_most.total_seconds())
        try:
            yield
        finally:
            if acquired:
                lock.release()


_store: TokenStore = ProcessStore()


def share(store: TokenStore) -> None:
    """Have every TokenSource of this process use `store`."""
    global _store  # noqa: PLW0603 - a process has one, like its log
    _store = store


@dataclass(frozen=True, slots=True)
class _Held:
    """A token in hand; the moments are those of `monotonic`."""

    token: Token
    renew_at: float
    ends_at: float

    @classmethod
    def now(cls, token: Token, left: timedelta) -> "_Held":
        """`token`, of whose lifetime this is left."""
        ends_at = monotonic() + left.total_seconds()
        unused = token.lifetime - _use(token.lifetime)
        return cls(token, ends_at - unused.total_seconds(), ends_at)


def _use(lifetime: timedelta) -> timedelta:
    """How long to use a token before it is renewed: not to its end, not for over 55 minutes."""
    margin = min(max(MIN_MARGIN, lifetime / 10), lifetime / 2)
    return min(lifetime - margin, MAX_USE)


class TokenSource:
    """The current token of one identity. Used by many threads at once.

    `name` tells this identity at this endpoint and for these rights from all others; `secret`
    is what only its owners know: what lies in the store can be neither found nor read without
    it. `fetch` asks the endpoint and takes at most `fetch_limit`; it raises a SendError.
    """

    def __init__(
        self, name: str, secret: bytes, fetch: Callable[[], Token], fetch_limit: timedelta
    ) -> None:
        info = b"postroom token " + name.encode()
        derived = HKDF(SHA256(), length=48, salt=None, info=info).derive(secret)
        self._cipher = Fernet(urlsafe_b64encode(derived[:32]))
        self._stored_name = derived[32:].hex()
        self._fetch = fetch
        self._turn_limit = fetch_limit + STORE_LIMIT
        self._renewing = threading.Lock()
        self._held: _Held | None = None
        self._refused: str | None = None
        self._failure: SendError | None = None
        self._failed_at = 0.0
        self._store_is_out_of_reach = False

    @property
    def wait_limit(self) -> timedelta:
        """The longest that `get` may take: another's turn, then one's own."""
        return 2 * self._turn_limit

    def get(self) -> str:
        """The token. Raises Unavailable or Misconfigured where there is none to be had."""
        asked_at = monotonic()
        held = self._held
        if held and asked_at < held.renew_at:
            return held.token.value
        # While the old one is good, one thread renews it and the others go on with it.
        if not self._renewing.acquire(blocking=not self._is_good(held)):
            assert held is not None  # noqa: S101 - only narrows the type
            return held.token.value
        try:
            return self._renewed(asked_at).token.value
        finally:
            self._renewing.release()

    def refuse(self, token: str) -> None:
        """Say that the provider did not take `token`: it is not given out again."""
        held = self._held
        if held and held.token.value == token:
            self._refused = token
            self._held = None

    def _renewed(self, asked_at: float) -> _Held:
        if self._held and monotonic() < self._held.renew_at:
            return self._held
        if self._failure and self._failed_at >= asked_at:
            raise self._failure  # of the thread that we have waited for
        try:
            self._held = self._from_store_or_endpoint()
        except SendError as failure:
            held = self._held
            if held and self._is_good(held):
                log.warning("a token cannot be renewed yet: %s", failure.code)
                again_at = monotonic() + WAIT_AFTER_FAILURE.total_seconds()
                self._held = replace(held, renew_at=again_at)
                return held
            self._failure, self._failed_at = failure, monotonic()
            raise
        return self._held

    def _is_good(self, held: _Held | None) -> bool:
        if held is None:
            return False
        return held.token.value != self._refused and monotonic() < held.ends_at

    def _from_store_or_endpoint(self) -> _Held:
        store = _store
        try:
            with store.lock(self._stored_name, self._turn_limit):
                found = self._read(store)
                if found and self._is_good(found):
                    self._held = found
                    if monotonic() < found.renew_at:
                        return found
                fetched = self._fetched()
                self._write(store, fetched)
                return fetched
        except StoreError as error:
            self._warn_of_store(error)
        return self._fetched()

    def _fetched(self) -> _Held:
        begun_at = monotonic()
        try:
            token = self._fetch()
        except Uncertain as error:
            # The request for the token may have arrived; the message has not even left.
            raise Unavailable(error.code, error.detail) from None
        except Rejected as error:
            raise Misconfigured(error.code, error.detail) from None
        # An endpoint that gives out the same one again stands by it.
        self._refused = None
        return _Held.now(token, token.lifetime - timedelta(seconds=monotonic() - begun_at))

    def _read(self, store: TokenStore) -> _Held | None:
        stored = store.read(self._stored_name)
        self._store_is_out_of_reach = False
        if stored is None:
            return None
        try:
            value, lifetime_seconds = json.loads(self._cipher.decrypt(stored.value))
        except InvalidToken:
            return None
        return _Held.now(Token(value, timedelta(seconds=lifetime_seconds)), stored.left)

    def _write(self, store: TokenStore, held: _Held) -> None:
        text = json.dumps([held.token.value, held.token.lifetime.total_seconds()])
        left = timedelta(seconds=held.ends_at - monotonic())
        try:
            if left > timedelta(0):
                store.write(self._stored_name, self._cipher.encrypt(text.encode()), left)
        except StoreError as error:
            self._warn_of_store(error)

    def _warn_of_store(self, error: StoreError) -> None:
        if not self._store_is_out_of_reach:
            log.warning("tokens are not shared: their store is out of reach: %s", error)
        self._store_is_out_of_reach = True


def is_unauthorized(response: Response) -> bool:
    """Whether a provider did not take the token (RFC 6750, 3.1)."""
    return response.status == 401


def with_token(
    tokens: TokenSource,
    send: Callable[[str], Response],
    is_stale: Callable[[Response], bool] = is_unauthorized,
) -> Response:
    """The reply to what `send` sends with a token, sent once more with a new one where the
    first `is_stale`. Such a reply to the new one is returned: it is not the token's fault."""
    token = tokens.get()
    response = send(token)
    if not is_stale(response):
        return response
    tokens.refuse(token)
    return send(tokens.get())
