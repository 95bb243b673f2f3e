import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from connectors.base import OutboundMessage
from connectors.fcm.connector import Fcm
from connectors.fcm.settings import FcmSettings
from connectors.toolkit import tokens
from connectors.toolkit.tokens import ProcessStore
from sandbox.client import RunningSandbox
from tests.doubles.client import running_doubles
from tests.doubles.service_accounts import key_file

DEVICE = "dXJ3WzVfRk2k:APA91bHun4MxP5egoKMwt2KZFBaFUH-1RYqx"
SENT = b'{"name": "projects/demo/messages/0:1500415314455276%31bd1c9631bd1c96"}'


@pytest.fixture(scope="module")
def sandbox_process() -> Iterator[RunningSandbox]:
    with running_doubles() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(sandbox_process: RunningSandbox) -> RunningSandbox:
    sandbox_process.clear()
    return sandbox_process


@pytest.fixture(autouse=True)
def own_store() -> Iterator[None]:
    tokens.use_store(ProcessStore())
    yield
    tokens.use_store(ProcessStore())


@pytest.fixture
def make_fcm() -> Iterator[Callable[..., Fcm]]:
    made: list[Fcm] = []

    def make(base_url: str, key: str, **settings: Any) -> Fcm:
        given = {"allow_networks": ("loopback",), "service_account": key, **settings}
        made.append(Fcm(FcmSettings(base_url=base_url, **given)))
        return made[-1]

    yield make
    for fcm in made:
        fcm.close()


@pytest.fixture
def make_sandboxed(make_fcm, sandbox: RunningSandbox) -> Callable[..., Fcm]:
    """Returns a connector to the simulated FCM, with the key that it issues."""
    base = f"{sandbox.http_url}/fcm"
    key = sandbox.session.get(f"{base}/service-account.json", timeout=30).text
    return lambda **settings: make_fcm(**{"base_url": base, "key": key, **settings})


@pytest.fixture
def sandboxed(make_sandboxed) -> Fcm:
    return make_sandboxed()


@pytest.fixture
def answers(provider) -> list[tuple[int, bytes, dict[str, str]]]:
    """FCM's responses, used up one by one except for the last.

    The token endpoint issues t0ken-1, t0ken-2 and so on.
    """
    answers: list[tuple[int, bytes, dict[str, str]]] = [(200, SENT, {})]

    def behave(handler: Any) -> None:
        if handler.path == "/token":
            number = sum(received.path == "/token" for received in provider.received)
            grant = {"access_token": f"t0ken-{number}", "expires_in": 3600}
            provider.answer(200, json.dumps(grant).encode())
        else:
            status, body, headers = answers.pop(0) if len(answers) > 1 else answers[0]
            provider.answer(status, body, **headers)
        # Before the response: the test may then set another behaviour at any time.
        answer, provider.behave = provider.behave, behave
        answer(handler)

    provider.behave = behave
    return answers


@pytest.fixture
def fcm(make_fcm, provider, answers, tight_limits) -> Fcm:
    return make_fcm(provider.url, key_file(token_uri=f"{provider.url}/token"), **tight_limits)


@pytest.fixture
def make_push(make_message) -> Callable[..., OutboundMessage]:
    return lambda **fields: make_message(**{"channel": "push", "recipient": DEVICE, **fields})
