"""Connectors for a scripted SendGrid and for the simulated one."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from connectors.base import OutboundMessage
from connectors.sendgrid.connector import SendGrid
from connectors.sendgrid.settings import SendGridSettings
from tests.doubles.sendgrid import API_KEY

KEY = "SG.k3y-of-ours"
UID = "0190f3c2-7a30-7e52-a0cd-6a3c5d0b2f11"


@pytest.fixture
def make_sendgrid(provider) -> Iterator[Callable[..., SendGrid]]:
    """Returns connectors for `provider`, which accepts every message unless told otherwise."""
    made: list[SendGrid] = []

    def make(**settings: Any) -> SendGrid:
        given = {
            "base_url": provider.url,
            "api_key": KEY,
            "sender": "Shop <shop@example.com>",
            "allow_networks": ["loopback"],
            **settings,
        }
        made.append(SendGrid(SendGridSettings(**given)))
        return made[-1]

    provider.answer(202, X_Message_Id="14c5d75ce93")
    yield make
    for connector in made:
        connector.close()


@pytest.fixture
def make_simulated(make_sendgrid, doubles) -> Callable[..., SendGrid]:
    """Returns connectors for the simulated SendGrid."""

    def make(**settings: Any) -> SendGrid:
        simulated = {"base_url": f"{doubles.http_url}/sendgrid", "api_key": API_KEY}
        return make_sendgrid(**{**simulated, **settings})

    return make


@pytest.fixture
def make_email(make_message) -> Callable[..., OutboundMessage]:
    def make(**fields: Any) -> OutboundMessage:
        email = {
            "uid": UID,
            "channel": "email",
            "recipient": "ann@example.org",
            "subject": "Your code",
            "body": "It is 4711",
        }
        return make_message(**{**email, **fields})

    return make
