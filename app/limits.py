"""Rate limits shared by all processes: at most N events in any period, not in calendar periods.

Redis stores the timestamps of the last N events of each limit. One script checks and counts them
by the clock of Redis, so that neither concurrency nor the clocks of the workers can exceed a
limit. An event counts against all its limits or against none.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Annotated, Any, cast

import redis
from pydantic import BeforeValidator, PlainSerializer

from app.redis import make_client

TIMEOUT_SECONDS = 2.0

PERIODS = {
    "second": timedelta(seconds=1),
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
}

# KEYS: a sorted set for each limit. ARGV: the number of events, 1 to count them or 0 to only look,
# then the count and the period in microseconds of each limit. Returns how many events fit, and if
# none does, the microseconds until one may.
SCRIPT = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local wanted, take = tonumber(ARGV[1]), ARGV[2] == '1'
local free, wait = wanted, 0
for i, key in ipairs(KEYS) do
    local count, period = tonumber(ARGV[1 + 2 * i]), tonumber(ARGV[2 + 2 * i])
    redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.0f', now - period))
    local used = redis.call('ZCARD', key)
    free = math.min(free, count - used)
    if used >= count then
        local oldest = redis.call('ZRANGE', key, used - count, used - count, 'WITHSCORES')[2]
        wait = math.max(wait, oldest + period - now)
    end
end
if free <= 0 then return {0, wait} end
if take then
    for i, key in ipairs(KEYS) do
        for n = 1, free do
            redis.call('ZADD', key, string.format('%.0f', now), string.format('%.0f-%d', now, n))
        end
        redis.call('PEXPIRE', key, math.ceil(tonumber(ARGV[2 + 2 * i]) / 1000) + 1000)
    end
end
return {free, 0}
"""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `count` events in any `period`."""

    count: int
    period: timedelta

    def __str__(self) -> str:
        unit = next(name for name, period in PERIODS.items() if period == self.period)
        return f"{self.count}/{unit}"


def parse(text: object) -> RateLimit:
    """Parse `10/second`, `500/minute`, `1000/hour` or `20000/day`.

    Raises:
        ValueError: the text is not a limit.
    """
    found = re.fullmatch(r"([1-9]\d{0,6})\s*/\s*(second|minute|hour|day)", str(text))
    if not found:
        raise ValueError("not a rate limit. Examples: 10/second, 500/minute, 1000/hour, 20000/day.")
    return RateLimit(int(found[1]), PERIODS[found[2]])


Limit = Annotated[RateLimit, BeforeValidator(parse), PlainSerializer(str, return_type=str)]


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many events fit, and if none does, the time until one may."""

    free: int
    wait: timedelta


class RateLimiter:
    """Rate limits counted in Redis.

    Methods raise redis.RedisError while Redis is unreachable. Limits are given by the name of
    what they belong to, such as an agent; limits of different names are counted separately.
    """

    def __init__(self, client: "redis.Redis") -> None:
        self._client = client
        self._script = client.register_script(SCRIPT)

    def ping(self) -> None:
        """Check that Redis responds."""
        self._client.ping()

    def take(self, limits: Mapping[str, Iterable[RateLimit]], wanted: int = 1) -> Capacity:
        """Count as many of `wanted` events as all limits allow, and return that number."""
        return self._run(limits, wanted, count=True)

    def peek(self, limits: Mapping[str, Iterable[RateLimit]], wanted: int) -> Capacity:
        """Return how many of `wanted` events all limits allow, without counting them."""
        return self._run(limits, wanted, count=False)

    def _run(
        self, limits: Mapping[str, Iterable[RateLimit]], wanted: int, *, count: bool
    ) -> Capacity:
        named = [(name, limit) for name, group in limits.items() for limit in group]
        if not named:
            return Capacity(wanted, timedelta(0))
        keys = [f"postroom:limit:{name}:{limit}" for name, limit in named]
        numbers = [
            number
            for _, limit in named
            for number in (limit.count, limit.period // timedelta(microseconds=1))
        ]
        reply = cast("list[Any]", self._script(keys=keys, args=[wanted, int(count), *numbers]))
        return Capacity(int(reply[0]), timedelta(microseconds=float(reply[1])))


@cache
def limiter() -> RateLimiter:
    """Return the rate limiter of this process."""
    return RateLimiter(make_client("limiter", timeout_seconds=TIMEOUT_SECONDS))
