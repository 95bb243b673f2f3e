from collections.abc import Iterator

import pytest

from sandbox.client import RunningSandbox
from tests.doubles.client import running_doubles
from tests.doubles.webhook_listener import WebhookListener, running_listener


@pytest.fixture(scope="package")
def doubles_process() -> Iterator[RunningSandbox]:
    with running_doubles() as doubles:
        yield doubles


@pytest.fixture
def sandbox(doubles_process: RunningSandbox) -> RunningSandbox:
    """The simulated providers, which have received nothing yet."""
    doubles_process.clear()
    return doubles_process


@pytest.fixture
def listener() -> Iterator[WebhookListener]:
    with running_listener() as listener:
        yield listener
