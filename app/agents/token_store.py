"""The store in which processes share access tokens, in Redis and encrypted."""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import redis

from app.redis import make_client
from connectors.toolkit import tokens
from connectors.toolkit.tokens import Stored, StoreError

PREFIX = "postroom:token:"
TIMEOUT_SECONDS = 1.0
LOCK_POLL_SECONDS = 0.05

# KEYS: the lock. ARGV: the value its holder wrote. An expired lock may belong to another by now.
UNLOCK = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


def install() -> None:
    """Share the access tokens of this process through the Redis of the settings."""
    tokens.use_store(RedisTokenStore(make_client("tokens", timeout_seconds=TIMEOUT_SECONDS)))


class RedisTokenStore:
    """A `tokens.TokenStore` in Redis, whose clock alone decides when entries expire."""

    def __init__(self, client: "redis.Redis") -> None:
        self._client = client
        self._unlock = client.register_script(UNLOCK)

    def read(self, name: str) -> Stored | None:
        with _store_errors(), self._client.pipeline() as pipeline:
            pipeline.get(PREFIX + name)
            pipeline.pttl(PREFIX + name)
            value, remaining_ms = pipeline.execute()
        if value is None or remaining_ms <= 0:
            return None
        return Stored(value, timedelta(milliseconds=remaining_ms))

    def write(self, name: str, value: bytes, lifetime: timedelta) -> None:
        with _store_errors():
            self._client.set(PREFIX + name, value, px=max(_milliseconds(lifetime), 1))

    @contextmanager
    def lock(self, name: str, timeout: timedelta) -> Iterator[None]:
        key, holder = f"{PREFIX}{name}:lock", secrets.token_bytes(16)
        deadline = time.monotonic() + timeout.total_seconds()
        with _store_errors():
            while not self._client.set(key, holder, nx=True, px=_milliseconds(timeout)):
                if time.monotonic() >= deadline:
                    break
                time.sleep(LOCK_POLL_SECONDS)
        try:
            yield
        finally:
            with suppress(redis.RedisError):  # the lock expires by itself
                self._unlock(keys=[key], args=[holder])


@contextmanager
def _store_errors() -> Iterator[None]:
    """Turn errors of Redis into StoreError, without their text: it may quote a password."""
    try:
        yield
    except redis.RedisError as error:
        raise StoreError(type(error).__name__) from None


def _milliseconds(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)
