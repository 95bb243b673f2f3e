from collections.abc import Callable, Iterator
from typing import Any

import pytest

from connectors.api.connector import Api
from connectors.api.settings import ApiSettings


@pytest.fixture
def make_api(provider, tight_limits) -> Iterator[Callable[..., Api]]:
    apis: list[Api] = []

    def make(**settings: Any) -> Api:
        apis.append(
            Api(ApiSettings(**{"uri": f"{provider.url}/api/v1", **tight_limits, **settings}))
        )
        return apis[-1]

    yield make
    for api in apis:
        api.close()


@pytest.fixture
def make_call(make_message):
    """Returns a message of the channel `http`."""

    def make(**fields: Any):
        return make_message(**{"channel": "http", "recipient": "/messages", **fields})

    return make
