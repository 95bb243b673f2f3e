"""Access tokens: renewed before they expire, by one thread of one process at a time.

A process holds its token in memory and shares it, encrypted, with other processes through a
store. Every lifetime is relative, from `expires_in` to the time to live in the store, so that
clocks need not agree.
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
from typing import TYPE_CHECKING, Protocol

from connectors.base import Misconfigured, Rejected, SendError, Unavailable, Uncertain

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

    from connectors.toolkit.http import Response

log = logging.getLogger(__name__)

MAX_USE = timedelta(minutes=55)
MIN_MARGIN = timedelta(seconds=60)
RETRY_INTERVAL = timedelta(seconds=30)
STORE_TIMEOUT = timedelta(seconds=5)
"""The maximum time to read and write the store, in addition to a fetch."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token and its lifetime, counted from when it was requested."""

    value: str = field(repr=False)
    lifetime: timedelta


@dataclass(frozen=True, slots=True)
class Stored:
    """A value in a store and the rest of its lifetime."""

    value: bytes
    remaining: timedelta


class StoreError(Exception):
    """The store is unavailable."""


class TokenStore(Protocol):
    """A store that processes share.

    `read`, `write` and entering a `lock` may raise StoreError; leaving a `lock` raises nothing of
    its own.
    """

    def read(self, name: str) -> Stored | None:
        """Return the value of a name, or None after its lifetime."""

    def write(self, name: str, value: bytes, lifetime: timedelta) -> None:
        """Store a value for its lifetime and replace an earlier one."""

    def lock(self, name: str, timeout: timedelta) -> AbstractContextManager[None]:
        """Lock a name for at most the timeout.

        A caller that has waited for the lock that long continues without it: two fetches do less
        harm than none.
        """


class ProcessStore:
    """A store that only the threads of one process share."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[bytes, float]] = {}
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def read(self, name: str) -> Stored | None:
        value, expires_at = self._entries.get(name, (b"", 0.0))
        remaining = expires_at - monotonic()
        return Stored(value, timedelta(seconds=remaining)) if remaining > 0 else None

    def write(self, name: str, value: bytes, lifetime: timedelta) -> None:
        self._entries[name] = value, monotonic() + lifetime.total_seconds()

    @contextmanager
    def lock(self, name: str, timeout: timedelta) -> Iterator[None]:
        lock = self._locks[name]
        acquired = lock.acquire(timeout=timeout.total_seconds())
        try:
            yield
        finally:
            if acquired:
                lock.release()


_store: TokenStore = ProcessStore()


def use_store(store: TokenStore) -> None:
    """Make every TokenSource of this process use a store."""
    global _store  # noqa: PLW0603 - a process has one, like its log
    _store = store


@dataclass(frozen=True, slots=True)
class _Held:
    """A token in memory; the timestamps are those of `monotonic`."""

    token: Token
    renew_at: float
    expires_at: float

    @classmethod
    def now(cls, token: Token, remaining: timedelta) -> "_Held":
        """Return a token that has this much of its lifetime left."""
        expires_at = monotonic() + remaining.total_seconds()
        margin = token.lifetime - _renew_after(token.lifetime)
        return cls(token, expires_at - margin.total_seconds(), expires_at)


def _renew_after(lifetime: timedelta) -> timedelta:
    """Return how long to use a token before renewing it: at most 55 minutes."""
    margin = min(max(MIN_MARGIN, lifetime / 10), lifetime / 2)
    return min(lifetime - margin, MAX_USE)


class TokenSource:
    """The current token of one identity. Safe to use from several threads.

    Args:
        name: Identifies the identity, its endpoint and its scopes among all others.
        secret: The identity's secret. Without it a token in the store can neither be found nor
            decrypted.
        fetch: Requests a new token, or raises a SendError.
        fetch_limit: The maximum time of `fetch`.
    """

    def __init__(
        self, name: str, secret: bytes, fetch: Callable[[], Token], fetch_limit: timedelta
    ) -> None:
        self._cipher, self._stored_name = _derive(name, secret)
        self._fetch = fetch
        self._renewal_limit = fetch_limit + STORE_TIMEOUT
        self._renewing = threading.Lock()
        self._held: _Held | None = None
        self._rejected: str | None = None
        self._failure: SendError | None = None
        self._failed_at = 0.0
        self._is_store_unavailable = False

    @property
    def wait_limit(self) -> timedelta:
        """The maximum time of `get`: the renewal by another thread, then one's own."""
        return 2 * self._renewal_limit

    def get(self) -> str:
        """Return the current token.

        Raises:
            Unavailable: No token can be obtained at present.
            Misconfigured: The endpoint refuses the identity.
        """
        started_at = monotonic()
        held = self._held
        if held and started_at < held.renew_at:
            return held.token.value
        # One thread renews the token. While the old one is valid, the others use that.
        if not self._renewing.acquire(blocking=not self._is_valid(held)):
            assert held is not None  # noqa: S101 - only narrows the type
            return held.token.value
        try:
            return self._renew(started_at).token.value
        finally:
            self._renewing.release()

    def invalidate(self, token: str) -> None:
        """Do not return a token again, because the provider rejected it."""
        held = self._held
        if held and held.token.value == token:
            self._rejected = token
            self._held = None

    def _renew(self, started_at: float) -> _Held:
        if self._held and monotonic() < self._held.renew_at:
            return self._held
        if self._failure and self._failed_at >= started_at:
            raise self._failure  # of the thread that was renewing before
        try:
            self._held = self._from_store_or_endpoint()
        except SendError as failure:
            held = self._held
            if held and self._is_valid(held):
                log.warning("token renewal failed, the old token is still valid: %s", failure.code)
                retry_at = monotonic() + RETRY_INTERVAL.total_seconds()
                self._held = replace(held, renew_at=retry_at)
                return held
            self._failure, self._failed_at = failure, monotonic()
            raise
        return self._held

    def _is_valid(self, held: _Held | None) -> bool:
        if held is None:
            return False
        return held.token.value != self._rejected and monotonic() < held.expires_at

    def _from_store_or_endpoint(self) -> _Held:
        store = _store
        try:
            with store.lock(self._stored_name, self._renewal_limit):
                found = self._read(store)
                if found and self._is_valid(found):
                    self._held = found
                    if monotonic() < found.renew_at:
                        return found
                fetched = self._fetch_token()
                self._write(store, fetched)
                return fetched
        except StoreError as error:
            self._warn_once(error)
        return self._fetch_token()

    def _fetch_token(self) -> _Held:
        started_at = monotonic()
        try:
            token = self._fetch()
        except Uncertain as error:
            # The request for a token may have arrived, but the message was not sent.
            raise Unavailable(error.code, error.detail) from None
        except Rejected as error:
            raise Misconfigured(error.code, error.detail) from None
        # If the endpoint returns the rejected token again, it considers it valid.
        self._rejected = None
        return _Held.now(token, token.lifetime - timedelta(seconds=monotonic() - started_at))

    def _read(self, store: TokenStore) -> _Held | None:
        from cryptography.fernet import InvalidToken  # noqa: PLC0415 - see _derive

        stored = store.read(self._stored_name)
        self._is_store_unavailable = False
        if stored is None:
            return None
        try:
            value, lifetime_seconds = json.loads(self._cipher.decrypt(stored.value))
        except InvalidToken:
            return None
        return _Held.now(Token(value, timedelta(seconds=lifetime_seconds)), stored.remaining)

    def _write(self, store: TokenStore, held: _Held) -> None:
        text = json.dumps([held.token.value, held.token.lifetime.total_seconds()])
        remaining = timedelta(seconds=held.expires_at - monotonic())
        try:
            if remaining > timedelta(0):
                store.write(self._stored_name, self._cipher.encrypt(text.encode()), remaining)
        except StoreError as error:
            self._warn_once(error)

    def _warn_once(self, error: StoreError) -> None:
        if not self._is_store_unavailable:
            log.warning("tokens are not shared: the token store is unavailable: %s", error)
        self._is_store_unavailable = True


def _derive(name: str, secret: bytes) -> tuple["Fernet", str]:
    """Return the cipher of an identity's tokens and their name in the store."""
    # cryptography is large, and most agents need no tokens.
    from cryptography.fernet import Fernet  # noqa: PLC0415
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415

    info = b"postroom token " + name.encode()
    derived = HKDF(SHA256(), length=48, salt=None, info=info).derive(secret)
    return Fernet(urlsafe_b64encode(derived[:32])), derived[32:].hex()


def is_unauthorized(response: "Response") -> bool:
    """Return whether a provider rejected the token (RFC 6750, 3.1)."""
    return response.status == 401


def with_token(
    tokens: TokenSource,
    send: Callable[[str], "Response"],
    is_rejected: Callable[["Response"], bool] = is_unauthorized,
) -> "Response":
    """Send a request with a token, and again with a new token if the first one is rejected.

    Args:
        tokens: Where the tokens come from.
        send: Sends the request with a token.
        is_rejected: Whether a response means that the token was rejected.

    Returns:
        The last response. If it rejects the new token as well, the token is not the cause.
    """
    token = tokens.get()
    response = send(token)
    if not is_rejected(response):
        return response
    tokens.invalidate(token)
    return send(tokens.get())
