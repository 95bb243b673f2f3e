"""Connectors to Twilio as a test has it answer, and as the sandbox plays it."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from connectors.base import Received, WebhookRequest
from connectors.twilio.connector import Twilio, TwilioSettings
from sandbox.client import RunningSandbox, running_sandbox
from tests.connectors.twilio.calls import TOKEN

ACCOUNT = "AC" + "a" * 32
CREATED = json.dumps({"sid": "SM" + "b" * 32, "status": "queued", "error_code": None}).encode()


@pytest.fixture
def make_twilio(provider, tight_limits) -> Iterator[Callable[..., Twilio]]:
    """Connectors whose Twilio is `provider`, which takes everything at first."""
    made: list[Twilio] = []

    def make(**settings: Any) -> Twilio:
        given = {
            "base_url": provider.url,
            "account_sid": ACCOUNT,
            "auth_token": TOKEN,
            "sender": "+15005550006",
            **tight_limits,
            **settings,
        }
        made.append(Twilio(TwilioSettings(**given)))
        return made[-1]

    provider.answer(201, CREATED)
    yield make
    for twilio in made:
        twilio.close()


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    with running_sandbox() as running:
        yield running


@pytest.fixture
def at_sandbox(sandbox: RunningSandbox, make_twilio) -> Callable[..., Twilio]:
    """Connectors whose Twilio is the sandbox."""
    sandbox.clear()

    def make(**settings: Any) -> Twilio:
        patient = {f"{limit}_timeout_seconds": 30 for limit in ("connect", "read", "total")}
        return make_twilio(**{"base_url": f"{sandbox.http_url}/twilio", **patient, **settings})

    return make


@pytest.fixture
def make_receiver() -> Callable[..., Twilio]:
    """Connectors that only listen."""

    def make(**settings: Any) -> Twilio:
        given = {"account_sid": ACCOUNT, "auth_token": TOKEN, "sender": "+15005550006"}
        return Twilio(TwilioSettings(**{**given, **settings}))

    return make


@pytest.fixture
def receive(make_receiver) -> Callable[[WebhookRequest], Received]:
    return make_receiver().receive
