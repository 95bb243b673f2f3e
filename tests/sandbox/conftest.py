from collections.abc import Callable, Iterator
from email.message import EmailMessage

import pytest
import requests

from sandbox.client import RunningSandbox, running_sandbox
from tests.doubles.webhook_listener import WebhookListener, running_listener


@pytest.fixture(scope="session")
def sandbox_process() -> Iterator[RunningSandbox]:
    with running_sandbox(magic_recipients=True) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(sandbox_process: RunningSandbox) -> RunningSandbox:
    sandbox_process.clear()
    return sandbox_process


@pytest.fixture
def post(sandbox: RunningSandbox) -> Callable[..., requests.Response]:
    """Posts a message to the gateway, as a provider's client would."""

    def _post(
        to: str = "+12025550123", content: str = "Hello", *, key: str | None = None
    ) -> requests.Response:
        return sandbox.session.post(
            sandbox.gateway_url,
            json={"to": to, "content": content},
            headers={"Idempotency-Key": key} if key else {},
            timeout=30,
        )

    return _post


@pytest.fixture
def mail() -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Shop <shop@example.com>"
    message["To"] = "ann@example.org"
    message["Subject"] = "Grüße"
    message["Message-ID"] = "<1@example.com>"
    message.set_content("Guten Tag\n")
    return message


@pytest.fixture
def listener() -> Iterator[WebhookListener]:
    with running_listener() as listener:
        yield listener
