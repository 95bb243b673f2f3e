import pytest
from pydantic import ValidationError

from tests.connectors.twilio.webhook_requests import TOKEN


def test_invalid_settings_are_rejected_without_quoting_secrets(make_twilio):
    table = [
        ({"account_sid": "SK" + "a" * 32}, "account_sid"),
        ({"auth_token": ""}, "auth_token"),
        ({"auth_token": "two\nlines"}, "auth_token"),
        ({"auth_token": None}, "auth_token: missing"),
        ({"api_key_sid": "SK" + "c" * 32}, "only one is set"),
        ({"api_key_secret": "s"}, "only one is set"),
        ({"sender": None}, "sender: missing"),
        ({"messaging_service_sid": "MG1"}, "messaging_service_sid"),
        ({"status_callback": "https://post_room.example/status"}, "underscore"),
        ({"status_callback": "/status"}, "status_callback"),
        ({"webhook_auth_tokens": ["a", "b", "c"]}, "webhook_auth_tokens"),
        ({"webhook_auth_tokens": [""]}, "webhook_auth_tokens"),
    ]
    failures = []
    for settings, expected in table:
        with pytest.raises(ValidationError) as raised:
            make_twilio(**settings)
        if expected not in str(raised.value) or TOKEN in str(raised.value):
            failures.append((settings, str(raised.value)))
    assert not failures
