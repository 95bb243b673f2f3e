import multiprocessing
from collections.abc import Iterator
from datetime import timedelta
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
import redis

from app.agents import token_store
from app.agents.token_store import PREFIX, RedisTokenStore
from connectors.toolkit import tokens
from connectors.toolkit.tokens import ProcessStore, StoreError, Token, TokenSource
from tests.servers import valkey

A_MINUTE = timedelta(minutes=1)
ROUNDS = 10


@pytest.fixture
def client(redis_url: str) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def store(client: "redis.Redis") -> RedisTokenStore:
    return RedisTokenStore(client)


def test_what_was_written_is_read_with_what_is_left_of_its_lifetime(store, client):
    store.write("a", b"\x00\xff", A_MINUTE)

    stored = store.read("a")
    assert stored is not None
    assert stored.value == b"\x00\xff"
    assert timedelta(0) < stored.left <= A_MINUTE
    assert client.keys() == [f"{PREFIX}a".encode()]

    store.write("a", b"later", A_MINUTE)
    assert store.read("a").value == b"later"
    assert store.read("b") is None


def test_redis_forgets_a_token_at_its_end(store, client):
    store.write("a", b"value", A_MINUTE)

    assert 0 < client.pttl(f"{PREFIX}a") <= 60_000


def test_a_lock_keeps_others_out_and_is_gone_afterwards(store, client):
    with store.lock("a", A_MINUTE):
        key = f"{PREFIX}a:lock"
        assert 0 < client.pttl(key) <= 60_000
        assert not client.set(key, "another's", nx=True)
        with store.lock("b", A_MINUTE):
            pass

    assert client.keys() == []


def test_a_lock_that_ran_out_and_is_another_s_now_is_left_to_it(store, client):
    with store.lock("a", A_MINUTE):
        client.set(f"{PREFIX}a:lock", "another's")

    assert client.get(f"{PREFIX}a:lock") == b"another's"


def test_whoever_has_waited_long_enough_goes_on_without_the_lock(store, client):
    client.set(f"{PREFIX}a:lock", "of a process that hangs")

    with store.lock("a", timedelta(milliseconds=10)):
        went_on = True

    assert went_on
    assert client.get(f"{PREFIX}a:lock") == b"of a process that hangs"


def test_a_lock_is_released_whatever_happens_under_it(store, client):
    with pytest.raises(ZeroDivisionError), store.lock("a", A_MINUTE):
        _ = 1 / 0

    assert client.keys() == []


def test_a_redis_out_of_reach_is_a_store_error_without_its_address(tmp_path: Path):
    with valkey(tmp_path) as server:
        client = redis.Redis.from_url(server.url, retry=None)
        store = RedisTokenStore(client)
        with store.lock("a", A_MINUTE):
            server.kill()  # the exit of the lock has nothing to say of that

        with pytest.raises(StoreError, match=r"^ConnectionError$"):
            store.read("a")
        with pytest.raises(StoreError, match=r"^ConnectionError$"):
            store.write("a", b"", A_MINUTE)
        with pytest.raises(StoreError, match=r"^ConnectionError$"), store.lock("a", A_MINUTE):
            pass
        client.close()


def _get_tokens(redis_url: str, start: Barrier) -> None:
    """What each of two processes does: get the same tokens at the same moments."""
    client = redis.Redis.from_url(redis_url)
    tokens.share(RedisTokenStore(client))
    for number in range(ROUNDS):

        def fetch(number: int = number) -> Token:
            return Token(f"{number}.{client.incr(f'fetches of {number}')}", A_MINUTE)

        start.wait(60)
        token = TokenSource(f"identity {number}", b"secret", fetch, A_MINUTE).get()
        client.sadd(f"tokens of {number}", token)
    client.close()


def test_of_two_processes_one_fetches(redis_url, client):
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


def test_an_installed_store_is_that_of_the_settings(client):
    token_store.install()
    try:
        source = TokenSource("name", b"secret", lambda: Token("t0ken", A_MINUTE), A_MINUTE)
        assert source.get() == "t0ken"
    finally:
        tokens.share(ProcessStore())

    [key] = client.keys()
    assert key.startswith(PREFIX.encode())
    assert b"t0ken" not in client.get(key)
