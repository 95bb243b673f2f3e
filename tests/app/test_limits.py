"""Rate limits shared by all processes, by the clock of Redis.

The tests move time by changing what Redis has stored: the score of each event is its timestamp in
microseconds.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
import redis

from app.limits import Capacity, RateLimit, RateLimiter, limiter, parse
from app.redis import make_client
from tests.servers import free_port

SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=n) for n in (1, 60, 3600, 86400))


@pytest.fixture
def client(redis_url: str) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def limits(client: "redis.Redis") -> RateLimiter:
    return RateLimiter(client)


def key(name: str, limit: str) -> str:
    return f"postroom:limit:{name}:{limit}"


def age(client: "redis.Redis", name: str, by: timedelta) -> None:
    """Make the events of a limit older."""
    for member in client.zrange(name, 0, -1):
        client.zincrby(name, -(by // timedelta(microseconds=1)), member)


def test_limit_is_a_count_and_a_period() -> None:
    rows = {
        "10/second": RateLimit(10, SECOND),
        "500/minute": RateLimit(500, MINUTE),
        "1000 / hour": RateLimit(1000, HOUR),
        "20000/day": RateLimit(20000, DAY),
    }
    assert {text: parse(text) for text in rows} == rows
    assert [parse(str(limit)) for limit in rows.values()] == [*rows.values()]
    accepted = []
    invalid = ["", "10", "10/", "/second", "0/second", "-1/second", "1.5/hour", "1/week", "1/s", 10]
    for text in invalid:
        try:
            accepted.append(parse(text))
        except ValueError as error:
            assert str(error).startswith("not a rate limit. Examples: 10/second")  # noqa: PT017
    assert not accepted


def test_no_limit_allows_everything(limits: RateLimiter) -> None:
    assert limits.take({"a": (), "b": ()}, 7) == Capacity(7, timedelta(0))


def test_events_are_counted_up_to_the_limit(limits: RateLimiter) -> None:
    of_smtp = {"smtp": [parse("10/hour")]}
    assert [limits.take(of_smtp, wanted).free for wanted in (7, 1, 7, 7, 1)] == [7, 1, 2, 0, 0]


def test_peek_counts_nothing(limits: RateLimiter, client: "redis.Redis") -> None:
    of_smtp = {"smtp": [parse("3/hour")]}
    free = [limits.peek(of_smtp, wanted) for wanted in (1, 3, 100, 100)]
    assert free == [Capacity(n, timedelta(0)) for n in (1, 3, 3, 3)]
    assert client.keys() == []


def test_limits_of_different_names_are_counted_separately(limits: RateLimiter) -> None:
    names = ("smtp", "smtp/eu", "smtp")
    assert [limits.take({name: [parse("1/hour")]}).free for name in names] == [1, 1, 0]


def test_event_counts_against_all_limits_or_none(
    limits: RateLimiter, client: "redis.Redis"
) -> None:
    several = {"smtp": [parse("5/minute"), parse("100/hour")], "smtp/eu": [parse("2/hour")]}
    assert limits.take(several, 4).free == 2
    assert limits.take(several, 4).free == 0
    for name, limit in (("smtp", "5/minute"), ("smtp", "100/hour"), ("smtp/eu", "2/hour")):
        assert client.zcard(key(name, limit)) == 2


def test_no_period_holds_more_events_than_the_limit(
    limits: RateLimiter, client: "redis.Redis"
) -> None:
    """With calendar periods, the end of one and the start of the next could hold twice as many."""
    of_smtp = {"smtp": [parse("4/hour")]}
    limits.take(of_smtp, 2)
    age(client, key("smtp", "4/hour"), timedelta(minutes=50))
    limits.take(of_smtp, 2)
    age(client, key("smtp", "4/hour"), timedelta(minutes=9))
    assert limits.take(of_smtp, 4).free == 0
    age(client, key("smtp", "4/hour"), timedelta(minutes=1))
    assert limits.take(of_smtp, 4).free == 2


def test_wait_ends_when_the_oldest_event_leaves_the_period(
    limits: RateLimiter, client: "redis.Redis"
) -> None:
    of_smtp = {"smtp": [parse("2/hour")]}
    limits.take(of_smtp)
    age(client, key("smtp", "2/hour"), timedelta(minutes=20))
    limits.take(of_smtp)
    full = limits.take(of_smtp)
    assert timedelta(minutes=39) < full.wait <= timedelta(minutes=40)
    assert limits.peek(of_smtp, 1).wait <= full.wait
    age(client, key("smtp", "2/hour"), full.wait)
    assert limits.take(of_smtp).free == 1


def test_wait_is_that_of_the_slowest_limit(limits: RateLimiter) -> None:
    several = {"smtp": [parse("1/minute"), parse("1/hour"), parse("9/day")]}
    limits.take(several)
    assert timedelta(minutes=59) < limits.take(several).wait <= HOUR


def test_counters_expire_with_their_period(limits: RateLimiter, client: "redis.Redis") -> None:
    limits.take({"smtp": [parse("2/second"), parse("2/hour")]})
    assert 1000 < client.pttl(key("smtp", "2/second")) <= 2000
    assert 3_600_000 < client.pttl(key("smtp", "2/hour")) <= 3_601_000


def test_concurrent_processes_never_exceed_a_limit(redis_url: str) -> None:
    clients = 8
    several = {"smtp": [parse("100/hour")], "smtp/eu": [parse("500/day")]}
    start = Barrier(clients)

    def take(wanted: int) -> int:
        with redis.Redis.from_url(redis_url) as client:
            start.wait()
            return sum(RateLimiter(client).take(several, wanted).free for _ in range(40))

    with ThreadPoolExecutor(clients) as pool:
        assert sum(pool.map(take, [1, 3] * 4)) == 100


def test_clock_of_the_process_does_not_matter(
    limits: RateLimiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_smtp = {"smtp": [parse("1/hour")]}
    assert limits.take(of_smtp).free == 1
    monkeypatch.setattr("time.time", lambda: 4_000_000_000.0)
    assert limits.take(of_smtp).free == 0


def test_script_is_loaded_again_after_redis_lost_it(
    limits: RateLimiter, client: "redis.Redis"
) -> None:
    of_smtp = {"smtp": [parse("2/hour")]}
    assert limits.take(of_smtp).free == 1
    client.script_flush()
    assert [limits.take(of_smtp).free for _ in range(2)] == [1, 0]


def test_unreachable_redis_raises_an_error(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    of_smtp = {"smtp": [parse("2/hour")]}
    with make_client("test", timeout_seconds=5) as client:
        limits = RateLimiter(client)
        with pytest.raises(redis.RedisError):
            limits.ping()
        with pytest.raises(redis.RedisError):
            limits.take(of_smtp)
        with pytest.raises(redis.RedisError):
            limits.peek(of_smtp, 1)


def test_limiter_of_the_process_uses_the_redis_of_the_settings(client: "redis.Redis") -> None:
    limiter.cache_clear()
    limiter().take({"smtp": [parse("2/hour")]})
    limiter.cache_clear()
    assert client.keys() == [key("smtp", "2/hour").encode()]
