"""Rate limits that hold over all processes together: never more than N in any period.

Redis keeps the moments of the last N events of each limit and is asked by one script, on its own
clock, so that neither concurrency nor the clocks of the workers can exceed a limit. Several
limits are taken together or not at all.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, cast

import redis
from pydantic import BeforeValidator, PlainSerializer

PERIODS = {
    "second": timedelta(seconds=1),
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
}

# KEYS: one sorted set a limit. ARGV: how many are wanted, whether to take them, then count and
# period (in microseconds) of each limit. Returns how many fit, and the wait until one more does.
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
    """At most `count` in any `period`."""

    count: int
    period: timedelta

    def __str__(self) -> str:
        unit = next(name for name, period in PERIODS.items() if period == self.period)
        return f"{self.count}/{unit}"


def parse(text: object) -> RateLimit:
    """Read `10/second`, `500/minute`, `1000/hour` or `20000/day`. Raises ValueError."""
    found = re.fullmatch(r"([1-9]\d{0,6})\s*/\s*(second|minute|hour|day)", str(text))
    if not found:
        raise ValueError("expected a limit like 10/second, 500/minute, 1000/hour or 20000/day")
    return RateLimit(int(found[1]), PERIODS[found[2]])


Limit = Annotated[RateLimit, BeforeValidator(parse), PlainSerializer(str, return_type=str)]


@dataclass(frozen=True, slots=True)
class Room:
    """How many events fit now, and, where none does, the wait until one may."""

    free: int
    wait: timedelta


class RateLimiter:
    """The limits of one Redis. Its methods raise redis.RedisError while that is out of reach."""

    def __init__(self, client: "redis.Redis") -> None:
        self._client = client
        self._script = client.register_script(SCRIPT)

    def ping(self) -> None:
        """Ask whether Redis answers."""
        self._client.ping()

    def take(self, limits: Mapping[str, Iterable[RateLimit]], wanted: int = 1) -> Room:
        """Count up to `wanted` events against all `limits`, named by what they belong to."""
        return self._ask(limits, wanted, take=True)

    def peek(self, limits: Mapping[str, Iterable[RateLimit]], wanted: int) -> Room:
        """As `take`, but nothing is counted."""
        return self._ask(limits, wanted, take=False)

    def _ask(self, limits: Mapping[str, Iterable[RateLimit]], wanted: int, *, take: bool) -> Room:
        flat = [(owner, limit) for owner, some in limits.items() for limit in some]
        if not flat:
            return Room(wanted, timedelta(0))
        keys = [f"postroom:limit:{owner}:{limit}" for owner, limit in flat]
        numbers = [
            number
            for _, limit in flat
            for number in (limit.count, limit.period // timedelta(microseconds=1))
        ]
        answer = cast("list[Any]", self._script(keys=keys, args=[wanted, int(take), *numbers]))
        return Room(int(answer[0]), timedelta(microseconds=float(answer[1])))
