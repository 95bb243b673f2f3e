"""Clients of the Redis that the settings name."""

import socket

import pytest
import redis

from app.redis import make_client
from tests.servers import free_port


def test_connection_that_was_cut_is_replaced(redis_url: str) -> None:
    with (
        make_client("test", timeout_seconds=10) as client,
        redis.Redis.from_url(redis_url) as other,
    ):
        client.set("key", "value")
        [connection] = [one for one in other.client_list() if one["name"] == "postroom-test"]
        other.client_kill_filter(_id=connection["id"])
        assert client.get("key") == b"value"


def test_redis_that_does_not_respond_raises_an_error(environment: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environment.setenv("REDIS_URL", f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        with (
            make_client("test", timeout_seconds=0.05, retries=0) as client,
            pytest.raises(redis.TimeoutError),
        ):
            client.ping()


def test_closed_port_raises_an_error(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    with (
        make_client("test", timeout_seconds=10) as client,
        pytest.raises(redis.ConnectionError),
    ):
        client.ping()
