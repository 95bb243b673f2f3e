"""Where the processes of Postroom share access tokens: Redis, which is given them encrypted."""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.settings import settings
from connectors.toolkit import tokens
from connectors.toolkit.tokens import Stored, StoreError

PREFIX = "postroom:token:"
ASK_AGAIN_SECONDS = 0.05
ANSWER_SECONDS = 1.0

# KEYS: the lock. ARGV: what its holder wrote into it. A lock that ran out may be another's now.
UNLOCK = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


def install() -> None:
    """Have this process share its tokens through the Redis of the settings."""
    client = redis.Redis.from_url(
        settings().redis_url,
        socket_timeout=ANSWER_SECONDS,
        socket_connect_timeout=ANSWER_SECONDS,
        socket_keepalive=True,
        # One more try serves a connection that was cut; its default of ten takes seconds.
        retry=Retry(NoBackoff(), 1),
        client_name="postroom-tokens",
    )
    tokens.share(RedisTokenStore(client))


class RedisTokenStore:
    """A tokens.TokenStore. Redis alone counts the time, so that no clock of ours matters."""

    def __init__(self, client: "redis.Redis") -> None:
        self._client = client
        self._unlock = client.register_script(UNLOCK)

    def read(self, name: str) -> Stored | None:
        with _reached(), self._client.pipeline() as both:
            both.get(PREFIX + name)
            both.pttl(PREFIX + name)
            value, left_ms = both.execute()
        if value is None or left_ms <= 0:
            return None
        return Stored(value, timedelta(milliseconds=left_ms))

    def write(self, name: str, value: bytes, lifetime: timedelta) -> None:
        with _reached():
            self._client.set(PREFIX + name, value, px=max(_milliseconds(lifetime), 1))

    @contextmanager
    def lock(self, name: str, at_most: timedelta) -> Iterator[None]:
        key, mine = f"{PREFIX}{name}:lock", secrets.token_bytes(16)
        give_up_at = time.monotonic() + at_most.total_seconds()
        with _reached():
            while not self._client.set(key, mine, nx=True, px=_milliseconds(at_most)):
                if time.monotonic() >= give_up_at:
                    break
                time.sleep(ASK_AGAIN_SECONDS)
        try:
            yield
        finally:
            with suppress(redis.RedisError):  # the lock ends by itself
                self._unlock(keys=[key], args=[mine])


@contextmanager
def _reached() -> Iterator[None]:
    try:
        yield
    except redis.RedisError as error:
        # Its text may quote the address, which may hold a password.
        raise StoreError(type(error).__name__) from None


def _milliseconds(time_span: timedelta) -> int:
    return time_span // timedelta(milliseconds=1)
