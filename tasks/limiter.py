"""The rate limiter of this process."""

from functools import cache

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.limits import RateLimiter
from app.settings import settings


@cache
def limiter() -> RateLimiter:
    """One limiter a process; it gives a Redis that does not answer up after 2 seconds."""
    return RateLimiter(
        redis.Redis.from_url(
            settings().redis_url,
            socket_timeout=2,
            socket_connect_timeout=2,
            socket_keepalive=True,
            # One more try serves a connection that was cut; its default of ten takes seconds.
            retry=Retry(NoBackoff(), 1),
            client_name="postroom-limiter",
        )
    )
