from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import ValidationError

from connectors.sba.settings import SbaSettings
from tests.connectors.sba.callbacks import PUBLIC_KEY, pem_of
from tests.connectors.sba.payments import PASSWORD


def test_invalid_settings_are_rejected_without_quoting_secrets():
    elliptic_key = pem_of(ec.generate_private_key(ec.SECP256R1()))
    credentials = "token: set either token, or user_name and password."
    table: list[tuple[dict[str, Any], str]] = [
        ({}, credentials),
        ({"user_name": "u"}, credentials),
        ({"password": "s3cret"}, credentials),
        ({"user_name": "u", "password": "s3cret", "token": "s3cret"}, credentials),
        ({"user_name": "u", "token": "s3cret"}, credentials),
        ({"user_name": "", "password": "", "token": ""}, credentials),
        ({"token": "t", "callback_url": "hook"}, "callback_url"),
        ({"token": "t", "webhook_secrets": [""]}, "webhook_secrets"),
        ({"token": "t", "webhook_secrets": ["s3cret", "b", "c"]}, "webhook_secrets"),
        ({"token": "t", "webhook_certificates": ["s3cret"]}, "webhook_certificates"),
        ({"token": "t", "webhook_certificates": [elliptic_key]}, "not an RSA key"),
        ({"token": "t", "webhook_certificates": [PUBLIC_KEY] * 3}, "webhook_certificates"),
    ]
    failures = []
    for settings, expected in table:
        with pytest.raises(ValidationError) as raised:
            SbaSettings(**settings)
        if expected not in str(raised.value) or "s3cret" in str(raised.value):
            failures.append((settings, str(raised.value)))
    assert not failures


def test_secrets_are_not_shown_with_the_settings(make_sba):
    assert PASSWORD not in repr(make_sba().settings)
