from collections.abc import Callable, Iterator

import pytest
import requests

from sandbox.client import RunningSandbox, running_sandbox
from tests.doubles.webhook_listener import WebhookListener, running_listener


@pytest.fixture(scope="package")
def sandbox_process() -> Iterator[RunningSandbox]:
    with running_sandbox(magic_recipients=True) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(sandbox_process: RunningSandbox) -> RunningSandbox:
    """A sandbox with magic recipients that has received nothing yet."""
    sandbox_process.clear()
    return sandbox_process


@pytest.fixture
def post(sandbox: RunningSandbox) -> Callable[..., requests.Response]:
    """Send a message to the gateway."""

    def post(
        to: str = "+12025550123", content: str = "Hello", *, key: str | None = None
    ) -> requests.Response:
        return sandbox.session.post(
            sandbox.gateway_url,
            json={"to": to, "content": content},
            headers={"Idempotency-Key": key} if key else {},
            timeout=30,
        )

    return post


@pytest.fixture
def listener() -> Iterator[WebhookListener]:
    with running_listener() as listener:
        yield listener
