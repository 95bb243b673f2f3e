from collections.abc import Callable, Iterator
from typing import Any

import pytest

from connectors.sba.connector import Sba, SbaSettings
from sandbox.client import RunningSandbox
from tests.connectors.sba.payments import PASSWORD
from tests.doubles.client import running_doubles


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    with running_doubles() as running:
        yield running


@pytest.fixture(params=["rest", "gateway"])
def api(request) -> str:
    return request.param


@pytest.fixture
def make_sba(tight_limits) -> Iterator[Callable[..., Sba]]:
    made: list[Sba] = []

    def make(**settings: Any) -> Sba:
        identity = {"user_name": "sandbox-api", "password": PASSWORD}
        if "token" in settings:
            identity = {}
        made.append(Sba(SbaSettings(**{**identity, "allow_networks": ["loopback"], **settings})))
        return made[-1]

    yield make
    for sba in made:
        sba.close()


@pytest.fixture
def bank(make_sba, sandbox, api) -> Sba:
    """A connector at each of the simulated bank's doors."""
    return make_sba(url=f"{sandbox.http_url}/sba", api=api)


@pytest.fixture
def scripted(make_sba, provider, tight_limits, api) -> Sba:
    """A connector at each door of a bank that answers what the test says."""
    return make_sba(url=provider.url, api=api, **tight_limits)


@pytest.fixture
def pay(sandbox) -> Callable[..., int]:
    """Plays the customer; returns the state of the order."""

    def _pay(order: str, outcome: str = "paid") -> int:
        response = sandbox.session.post(
            f"{sandbox.http_url}/sba/_pay", json={"order": order, "outcome": outcome}, timeout=30
        )
        assert response.status_code == 200
        return response.json()["orderStatus"]

    return _pay
