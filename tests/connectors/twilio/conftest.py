"""Connectors for a scripted Twilio and for the simulated one."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from connectors.twilio.connector import Twilio
from connectors.twilio.settings import TwilioSettings
from tests.connectors.twilio.webhook_requests import TOKEN

ACCOUNT = "AC" + "a" * 32
CREATED = json.dumps({"sid": "SM" + "b" * 32, "status": "queued", "error_code": None}).encode()


@pytest.fixture
def make_twilio(provider, tight_limits) -> Iterator[Callable[..., Twilio]]:
    """Returns connectors for `provider`, which accepts every message unless told otherwise."""
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


@pytest.fixture
def make_simulated(doubles, make_twilio) -> Callable[..., Twilio]:
    """Returns connectors for the simulated Twilio."""

    def make(**settings: Any) -> Twilio:
        patient = {f"{limit}_timeout_seconds": 30 for limit in ("connect", "read", "total")}
        return make_twilio(**{"base_url": f"{doubles.http_url}/twilio", **patient, **settings})

    return make


@pytest.fixture
def make_receiver() -> Callable[..., Twilio]:
    """Returns connectors that only receive webhooks."""

    def make(**settings: Any) -> Twilio:
        given = {"account_sid": ACCOUNT, "auth_token": TOKEN, "sender": "+15005550006"}
        return Twilio(TwilioSettings(**{**given, **settings}))

    return make
