import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import ValidationError

from connectors.sendgrid.settings import SendGridSettings
from tests.connectors.sendgrid.keys import new_key, public_key_of


def test_invalid_settings_are_rejected_without_quoting_secrets():
    valid_key = public_key_of(new_key())
    pem = f"-----BEGIN PUBLIC KEY-----\n{valid_key}\n-----END PUBLIC KEY-----"
    one_sided = "inbound_username, inbound_passwords: only one is set"
    no_key = "not a P-256 public key"
    table: list[tuple[dict[str, Any], str]] = [
        ({"api_key": ""}, "api_key"),
        ({"api_key": "SG.s3cret\n"}, "api_key"),
        ({"sender": "a@b, c@d"}, "sender"),
        ({"inbound_username": "grid"}, one_sided),
        ({"inbound_passwords": ["s3cret"]}, one_sided),
        ({"inbound_username": "grid", "inbound_passwords": []}, one_sided),
        ({"inbound_username": "grid", "inbound_passwords": [""]}, "inbound_passwords"),
        ({"inbound_username": "grid", "inbound_passwords": ["s3cret", "b", "c"]}, "at most 2"),
        ({"inbound_username": "", "inbound_passwords": ["s3cret"]}, "inbound_username"),
        ({"inbound_username": "a:b", "inbound_passwords": ["s3cret"]}, "inbound_username"),
        ({"inbound_public_keys": ["s3cret"]}, no_key),
        ({"event_public_keys": [""]}, no_key),
        ({"event_public_keys": ["s3cret"]}, no_key),
        ({"event_public_keys": ["s3crёt"]}, no_key),
        ({"event_public_keys": [base64.b64encode(b"s3cret").decode()]}, no_key),
        ({"event_public_keys": [valid_key[:-8]]}, no_key),
        ({"event_public_keys": [pem]}, no_key),
        ({"event_public_keys": [public_key_of(ec.generate_private_key(ec.SECP384R1()))]}, no_key),
        ({"event_public_keys": [valid_key] * 3}, "event_public_keys"),
    ]
    failures = []
    for settings, expected in table:
        with pytest.raises(ValidationError) as raised:
            SendGridSettings(**{"api_key": "SG.k", **settings})
        if expected not in str(raised.value) or "s3cr" in str(raised.value):
            failures.append((settings, str(raised.value)))
    assert not failures


def test_default_base_url_is_sendgrids_own():
    assert SendGridSettings(api_key="SG.k").base_url == "https://api.sendgrid.com"


def test_api_key_is_not_shown_with_the_settings():
    assert "SG.k" not in repr(SendGridSettings(api_key="SG.k"))
