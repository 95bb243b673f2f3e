"""Connectors to MTS as the sandbox plays it, and to one that answers as the test has it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from connectors.m2m.connector import M2m
from connectors.m2m.settings import M2mSettings
from sandbox.client import RunningSandbox
from tests.doubles.client import running_doubles


@pytest.fixture(scope="module")
def sandbox_process() -> Iterator[RunningSandbox]:
    with running_doubles() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(sandbox_process: RunningSandbox) -> RunningSandbox:
    sandbox_process.clear()
    return sandbox_process


@pytest.fixture
def make_m2m() -> Iterator[Callable[..., M2m]]:
    connectors: list[M2m] = []

    def make(url: str, **settings: Any) -> M2m:
        loopback = {"allow_networks": ("loopback",)}
        connectors.append(M2m(M2mSettings(url=url, **{**loopback, **settings})))
        return connectors[-1]

    yield make
    for connector in connectors:
        connector.close()


@pytest.fixture
def at_sandbox(make_m2m, sandbox) -> Callable[..., M2m]:
    """Connectors whose MTS is the sandbox."""

    def make(**settings: Any) -> M2m:
        service = "http-api/v1" if settings.get("mode") == "omnichannel" else "m2m_api.asmx"
        return make_m2m(f"{sandbox.http_url}/m2m/{service}", **settings)

    return make


@pytest.fixture
def at_provider(make_m2m, provider, tight_limits) -> Callable[..., M2m]:
    """Connectors whose MTS answers as the test has it."""

    def make(**settings: Any) -> M2m:
        return make_m2m(f"{provider.url}/mts", **tight_limits, **settings)

    return make
