import pytest
from pydantic import ValidationError

from connectors.sba.connector import SbaSettings
from tests.connectors.sba.payments import PASSWORD


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "token"),
        ({"user_name": "u"}, "token"),
        ({"password": "s3cret"}, "token"),
        ({"user_name": "u", "password": "s3cret", "token": "s3cret"}, "set either token"),
        ({"user_name": "u", "token": "s3cret"}, "set either token"),
        ({"user_name": "", "password": "", "token": ""}, "token"),
        ({"token": "t", "api": "soap"}, "api"),
        ({"token": "t", "url": "https://bank.test/?s3cret"}, "query"),
        ({"token": "t", "url": "bank.test"}, "url"),
        ({"token": "t", "callback_url": "hook"}, "callback_url"),
    ],
)
def test_bad_settings_are_refused_without_showing_secrets(settings, says):
    with pytest.raises(ValidationError, match=says) as raised:
        SbaSettings(**settings)

    assert "s3cret" not in str(raised.value)


def test_secrets_are_not_shown_with_the_settings(make_sba):
    assert PASSWORD not in repr(make_sba().settings)
