"""Connectors for both APIs of a scripted bank and of the simulated one."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from connectors.sba.connector import Sba
from connectors.sba.settings import SbaSettings
from tests.connectors.sba.payments import PASSWORD

APIS = ("rest", "gateway")


@pytest.fixture
def make_sba() -> Iterator[Callable[..., Sba]]:
    made: list[Sba] = []

    def make(**settings: Any) -> Sba:
        credentials = {"user_name": "sandbox-api", "password": PASSWORD}
        if "token" in settings:
            credentials = {}
        made.append(Sba(SbaSettings(**{**credentials, "allow_networks": ["loopback"], **settings})))
        return made[-1]

    yield make
    for sba in made:
        sba.close()


@pytest.fixture(params=APIS)
def simulated(request, make_sba, doubles) -> Sba:
    """A connector for each API of the simulated bank."""
    return make_sba(url=f"{doubles.http_url}/sba", api=request.param)


@pytest.fixture
def scripted(make_sba, provider, tight_limits) -> list[Sba]:
    """A connector for each API, whose bank is `provider`."""
    return [make_sba(url=provider.url, api=api, **tight_limits) for api in APIS]


@pytest.fixture
def pay(doubles) -> Callable[..., int]:
    """Pays an order of the simulated bank as its customer; returns the order's status."""

    def _pay(order: str, outcome: str = "paid") -> int:
        response = doubles.session.post(
            f"{doubles.http_url}/sba/_pay", json={"order": order, "outcome": outcome}, timeout=30
        )
        assert response.status_code == 200
        return response.json()["orderStatus"]

    return _pay
