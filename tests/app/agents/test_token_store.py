"""Sharing access tokens between processes through Redis."""

import multiprocessing
from collections.abc import Iterator
from datetime import timedelta
from multiprocessing.synchronize import Barrier

import pytest
import redis

from app.agents import token_store
from app.agents.token_store import PREFIX, RedisTokenStore
from app.redis import make_client
from connectors.toolkit import tokens
from connectors.toolkit.tokens import ProcessStore, StoreError, Token, TokenSource
from tests.servers import free_port

MINUTE = timedelta(minutes=1)
ROUNDS = 10
LOCK = f"{PREFIX}a:lock"


@pytest.fixture
def client(redis_url: str) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def store(client: "redis.Redis") -> RedisTokenStore:
    return RedisTokenStore(client)


def test_stored_value_is_read_until_its_lifetime_ends(
    store: RedisTokenStore, client: "redis.Redis"
) -> None:
    store.write("a", b"\x00\xff", MINUTE)
    stored = store.read("a")
    assert stored is not None
    assert stored.value == b"\x00\xff"
    assert timedelta(0) < stored.remaining <= MINUTE
    assert 0 < client.pttl(f"{PREFIX}a") <= 60_000

    store.write("a", b"later", MINUTE)
    assert (again := store.read("a")) is not None
    assert again.value == b"later"
    assert store.read("b") is None


def test_lock_excludes_others_until_it_is_released(
    store: RedisTokenStore, client: "redis.Redis"
) -> None:
    with store.lock("a", MINUTE):
        assert 0 < client.pttl(LOCK) <= 60_000
        assert not client.set(LOCK, "of another process", nx=True)
        with store.lock("b", MINUTE):
            pass
    assert client.keys() == []
    with pytest.raises(ZeroDivisionError), store.lock("a", MINUTE):
        _ = 1 / 0
    assert client.keys() == []


def test_expired_lock_of_another_process_is_not_released(
    store: RedisTokenStore, client: "redis.Redis"
) -> None:
    with store.lock("a", MINUTE):
        client.set(LOCK, "of another process")
    assert client.get(LOCK) == b"of another process"


def test_process_continues_without_a_lock_it_has_waited_for_long_enough(
    store: RedisTokenStore, client: "redis.Redis"
) -> None:
    client.set(LOCK, "of a process that hangs")
    with store.lock("a", timedelta(milliseconds=10)):
        assert client.get(LOCK) == b"of a process that hangs"
    assert client.get(LOCK) == b"of a process that hangs"


def test_unreachable_redis_is_a_store_error_without_its_address(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("REDIS_URL", f"redis://:secret@127.0.0.1:{free_port()}/0")
    with make_client("test", timeout_seconds=5) as client:
        store = RedisTokenStore(client)
        with pytest.raises(StoreError, match=r"^ConnectionError$"):
            store.read("a")
        with pytest.raises(StoreError, match=r"^ConnectionError$"):
            store.write("a", b"", MINUTE)
        with pytest.raises(StoreError, match=r"^ConnectionError$"), store.lock("a", MINUTE):
            pass


def test_redis_that_fails_under_a_lock_does_not_fail_its_release(
    store: RedisTokenStore, client: "redis.Redis"
) -> None:
    with store.lock("a", MINUTE):
        client.delete(LOCK)
        client.lpush(LOCK, "not a string")  # so that the script fails


def _get_tokens(redis_url: str, start: Barrier) -> None:
    """Get the same tokens at the same time as another process."""
    client = redis.Redis.from_url(redis_url)
    tokens.use_store(RedisTokenStore(client))
    for number in range(ROUNDS):

        def fetch(number: int = number) -> Token:
            return Token(f"{number}.{client.incr(f'fetches of {number}')}", MINUTE)

        start.wait(60)
        token = TokenSource(f"identity {number}", b"secret", fetch, MINUTE).get()
        client.sadd(f"tokens of {number}", token)
    client.close()


def test_one_of_two_processes_fetches_a_token(redis_url: str, client: "redis.Redis") -> None:
    spawning = multiprocessing.get_context("spawn")
    start = spawning.Barrier(2)
    processes = [
        spawning.Process(target=_get_tokens, args=(redis_url, start), daemon=True) for _ in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(100)
    assert [process.exitcode for process in processes] == [0, 0]
    for number in range(ROUNDS):
        assert client.smembers(f"tokens of {number}") == {f"{number}.1".encode()}


def test_installed_store_is_the_redis_of_the_settings(client: "redis.Redis") -> None:
    token_store.install()
    try:
        source = TokenSource("name", b"secret", lambda: Token("t0ken", MINUTE), MINUTE)
        assert source.get() == "t0ken"
    finally:
        tokens.use_store(ProcessStore())
    [key] = client.keys()
    assert key.startswith(PREFIX.encode())
    assert b"t0ken" not in client.get(key)
