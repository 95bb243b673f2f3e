"""The connector before the sandbox, and before a provider that answers as a test tells it."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from connectors.base import OutboundMessage
from connectors.fcm.connector import Fcm, FcmSettings
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
    tokens.share(ProcessStore())
    yield
    tokens.share(ProcessStore())


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
    """A connector to the sandbox, by the key that it hands out."""
    base = f"{sandbox.http_url}/fcm"
    key = sandbox.session.get(f"{base}/service-account.json", timeout=30).text
    return lambda **settings: make_fcm(**{"base_url": base, "key": key, **settings})


@pytest.fixture
def sandboxed(make_sandboxed) -> Fcm:
    return make_sandboxed()


@pytest.fixture
def answers(provider) -> list[tuple[int, bytes, dict[str, str]]]:
    """What FCM answers, one after the other, the last of them from then on. The token endpoint
    beside it gives out t0ken-1, t0ken-2 …"""
    answers: list[tuple[int, bytes, dict[str, str]]] = [(200, SENT, {})]

    def behave(handler: Any) -> None:
        if handler.path == "/token":
            number = sum(received.path == "/token" for received in provider.received)
            grant = {"access_token": f"t0ken-{number}", "expires_in": 3600}
            provider.answer(200, json.dumps(grant).encode())
        else:
            status, body, headers = answers.pop(0) if len(answers) > 1 else answers[0]
            provider.answer(status, body, **headers)
        # Before it answers: the test may go on at once, and tell it to do something else.
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
