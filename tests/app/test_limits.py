"""Rate limits hold over all who ask, on the clock of Redis, all together or not at all.

Time is moved by moving what Redis remembers: each event's score is its moment in microseconds.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import fakeredis
import pytest
import redis

from app.limits import RateLimit, RateLimiter, Room, parse

SECOND, MINUTE, HOUR = (timedelta(seconds=n) for n in (1, 60, 3600))


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def limiter(client: redis.Redis) -> RateLimiter:
    return RateLimiter(client)


def key(owner: str, limit: str) -> str:
    return f"postroom:limit:{owner}:{limit}"


def age(client: redis.Redis, name: str, by: timedelta) -> None:
    """Make the events of a limit older."""
    for member in client.zrange(name, 0, -1):
        client.zincrby(name, -(by // timedelta(microseconds=1)), member)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("10/second", RateLimit(10, SECOND)),
        ("500/minute", RateLimit(500, MINUTE)),
        ("1000 / hour", RateLimit(1000, HOUR)),
        ("20000/day", RateLimit(20000, timedelta(days=1))),
    ],
)
def test_a_limit_is_a_count_and_a_period(text: str, limit: RateLimit) -> None:
    assert parse(text) == limit
    assert parse(str(limit)) == limit


@pytest.mark.parametrize(
    "text", ["", "10", "10/", "/second", "0/second", "-1/second", "1.5/hour", "1/week", "1/s", 10]
)
def test_what_is_no_limit_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="expected a limit like 10/second"):
        parse(text)


def test_what_has_no_limit_is_free(limiter: RateLimiter) -> None:
    assert limiter.take({"a": (), "b": ()}, 7) == Room(7, timedelta(0))


def test_no_more_than_the_count_fits(limiter: RateLimiter) -> None:
    limits = {"smtp": [parse("3/hour")]}
    assert [limiter.take(limits).free for _ in range(5)] == [1, 1, 1, 0, 0]


def test_many_are_taken_up_to_what_is_free(limiter: RateLimiter) -> None:
    limits = {"smtp": [parse("10/hour")]}
    assert limiter.take(limits, 7).free == 7
    assert limiter.take(limits, 7).free == 3
    assert limiter.take(limits, 7).free == 0


@pytest.mark.parametrize("wanted", [1, 3, 100])
def test_to_peek_counts_nothing(limiter: RateLimiter, client: redis.Redis, wanted: int) -> None:
    limits = {"smtp": [parse("3/hour")]}
    for _ in range(5):
        assert limiter.peek(limits, wanted) == Room(min(wanted, 3), timedelta(0))
    assert client.keys() == []


def test_owners_do_not_share_their_limits(limiter: RateLimiter) -> None:
    assert limiter.take({"smtp": [parse("1/hour")]}).free == 1
    assert limiter.take({"smtp/eu": [parse("1/hour")]}).free == 1
    assert limiter.take({"smtp": [parse("1/hour")]}).free == 0


def test_several_limits_are_taken_together_or_not_at_all(
    limiter: RateLimiter, client: redis.Redis
) -> None:
    limits = {"smtp": [parse("5/minute"), parse("100/hour")], "smtp/eu": [parse("2/hour")]}
    assert limiter.take(limits, 4).free == 2
    assert limiter.take(limits, 4).free == 0
    for owner, limit in (("smtp", "5/minute"), ("smtp", "100/hour"), ("smtp/eu", "2/hour")):
        assert client.zcard(key(owner, limit)) == 2


def test_an_event_counts_until_its_period_is_over(
    limiter: RateLimiter, client: redis.Redis
) -> None:
    limits = {"smtp": [parse("2/hour")]}
    limiter.take(limits, 2)
    age(client, key("smtp", "2/hour"), HOUR - timedelta(minutes=5))
    assert limiter.take(limits).free == 0
    age(client, key("smtp", "2/hour"), timedelta(minutes=5))
    assert limiter.take(limits, 5).free == 2


def test_in_no_window_are_there_more_than_the_count(
    limiter: RateLimiter, client: redis.Redis
) -> None:
    """Unlike with fixed windows: two at the end of one, and none at the start of the next."""
    limits = {"smtp": [parse("4/hour")]}
    limiter.take(limits, 2)
    age(client, key("smtp", "4/hour"), timedelta(minutes=50))
    limiter.take(limits, 2)
    age(client, key("smtp", "4/hour"), timedelta(minutes=9))
    assert limiter.take(limits, 4).free == 0
    age(client, key("smtp", "4/hour"), timedelta(minutes=1))
    assert limiter.take(limits, 4).free == 2


def test_the_wait_is_until_the_oldest_event_leaves_the_window(
    limiter: RateLimiter, client: redis.Redis
) -> None:
    limits = {"smtp": [parse("2/hour")]}
    limiter.take(limits)
    age(client, key("smtp", "2/hour"), timedelta(minutes=20))
    limiter.take(limits)
    oldest = client.zrange(key("smtp", "2/hour"), 0, 0, withscores=True)[0][1]
    seconds, microseconds = client.time()
    wait = limiter.take(limits).wait
    expected = HOUR - timedelta(microseconds=seconds * 1_000_000 + microseconds - oldest)
    assert timedelta(0) <= expected - wait < timedelta(minutes=1), "of the clock of Redis"
    assert timedelta(minutes=39) < wait <= timedelta(minutes=40)
    assert limiter.peek(limits, 1).wait <= wait


def test_the_wait_is_that_of_the_limit_that_takes_longest(
    limiter: RateLimiter, client: redis.Redis
) -> None:
    limits = {"smtp": [parse("1/minute"), parse("1/hour"), parse("9/day")]}
    limiter.take(limits)
    assert timedelta(minutes=59) < limiter.take(limits).wait <= HOUR


def test_after_the_wait_that_was_told_there_is_room(
    limiter: RateLimiter, client: redis.Redis
) -> None:
    limits = {"smtp": [parse("2/hour")]}
    limiter.take(limits, 2)
    age(client, key("smtp", "2/hour"), limiter.take(limits).wait)
    assert limiter.take(limits).free == 1


def test_what_redis_keeps_goes_by_itself_once_it_counts_no_more(
    limiter: RateLimiter, client: redis.Redis
) -> None:
    limiter.take({"smtp": [parse("2/second"), parse("2/hour")]})
    assert 1000 < client.pttl(key("smtp", "2/second")) <= 2000
    assert 3_600_000 < client.pttl(key("smtp", "2/hour")) <= 3_601_000


@pytest.mark.parametrize("wanted", [1, 3])
def test_all_who_ask_at_once_never_get_more_than_the_count(redis_url: str, wanted: int) -> None:
    askers, asks = 8, 40
    limits = {"smtp": [parse("100/hour")], "smtp/eu": [parse("500/day")]}
    together = Barrier(askers)

    def ask() -> int:
        with redis.Redis.from_url(redis_url) as client:
            limiter = RateLimiter(client)
            together.wait()
            return sum(limiter.take(limits, wanted).free for _ in range(asks))

    with ThreadPoolExecutor(askers) as pool:
        taken = [future.result() for future in [pool.submit(ask) for _ in range(askers)]]
    assert sum(taken) == 100


def test_the_clock_of_who_asks_does_not_matter(
    redis_url: str, limiter: RateLimiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = {"smtp": [parse("1/hour")]}
    assert limiter.take(limits).free == 1
    monkeypatch.setattr("time.time", lambda: 4_000_000_000.0)
    with redis.Redis.from_url(redis_url) as client:
        assert RateLimiter(client).take(limits).free == 0


def test_a_redis_that_forgot_the_script_is_given_it_again(
    limiter: RateLimiter, client: redis.Redis
) -> None:
    limits = {"smtp": [parse("2/hour")]}
    assert limiter.take(limits).free == 1
    client.script_flush()
    assert limiter.take(limits).free == 1
    assert limiter.take(limits).free == 0


@pytest.mark.parametrize("method", ["ping", "take", "peek"])
def test_a_redis_out_of_reach_is_said_so_and_found_again(method: str) -> None:
    server = fakeredis.FakeServer()
    limiter = RateLimiter(fakeredis.FakeRedis(server=server))
    limits = {"smtp": [parse("2/hour")]}
    ask = {
        "ping": limiter.ping,
        "take": lambda: limiter.take(limits),
        "peek": lambda: limiter.peek(limits, 1),
    }[method]
    server.connected = False
    with pytest.raises(redis.RedisError):
        ask()
    server.connected = True
    ask()
