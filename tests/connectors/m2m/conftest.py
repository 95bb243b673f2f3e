"""Connectors for a scripted MTS and for the simulated one."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from connectors.m2m.connector import M2m
from connectors.m2m.settings import M2mSettings


@pytest.fixture
def make_m2m() -> Iterator[Callable[..., M2m]]:
    made: list[M2m] = []

    def make(url: str = "https://mts.test", **settings: Any) -> M2m:
        loopback = {"allow_networks": ("loopback",)}
        made.append(M2m(M2mSettings(url=url, **{**loopback, **settings})))
        return made[-1]

    yield make
    for connector in made:
        connector.close()


@pytest.fixture
def make_simulated(make_m2m, doubles) -> Callable[..., M2m]:
    """Returns connectors for the simulated MTS."""

    def make(**settings: Any) -> M2m:
        service = "http-api/v1" if settings.get("mode") == "omnichannel" else "m2m_api.asmx"
        return make_m2m(f"{doubles.http_url}/m2m/{service}", **settings)

    return make


@pytest.fixture
def make_scripted(make_m2m, provider, tight_limits) -> Callable[..., M2m]:
    """Returns connectors for `provider`."""

    def make(**settings: Any) -> M2m:
        return make_m2m(f"{provider.url}/mts", **tight_limits, **settings)

    return make
