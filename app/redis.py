"""Clients of the Redis that the settings name."""

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.settings import settings


def make_client(purpose: str, *, timeout_seconds: float, retries: int = 1) -> "redis.Redis":
    """Return a client that raises redis.RedisError soon where Redis does not respond.

    `purpose` names its connections in `CLIENT LIST`. The timeout applies to connecting and to
    each command. One retry, without a wait, replaces a connection that was cut while idle; the
    library's default of ten retries takes seconds.
    """
    return redis.Redis.from_url(
        settings().redis_url,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), retries),
        client_name=f"postroom-{purpose}",
    )
