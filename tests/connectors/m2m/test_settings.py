import re

import pytest
from pydantic import ValidationError

from connectors.m2m.settings import M2mSettings
from tests.connectors.m2m.wire import KEY, OMNICHANNEL, PAIR


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "needs either api_key"),
        ({**KEY, **PAIR}, "needs either api_key"),
        ({"login": "s3cret"}, "only one is set"),
        ({"password": "s3cret"}, "only one is set"),
        ({"login": "a:s3cret", "password": "p"}, "login"),
        ({"login": "a", "password": ""}, "password"),
        ({"api_key": "s3crёt"}, "api_key"),
        ({"mode": "omnichannel", **PAIR}, "login, password and sender"),
        ({"mode": "omnichannel", "sender": "A", **KEY}, "login, password and sender"),
        ({**OMNICHANNEL, **KEY}, "login, password and sender"),
        ({**KEY, "sender": ""}, "sender"),
        ({**KEY, "webhook_secrets": ["s3cret-of-sixteen"]}, "webhook_secrets: only for mode soap"),
        (
            {**OMNICHANNEL, "webhook_secrets": ["s3cret-of-sixteen"]},
            "webhook_secrets: only for mode soap",
        ),
        ({**KEY, "sender": "A", "webhook_secrets": ["s3cret"]}, "webhook_secrets"),
        ({**KEY, "sender": "A", "webhook_secrets": ["s3cret-of-sixteen"] * 3}, "webhook_secrets"),
        ({**KEY, "webhook_login": "mts"}, "webhook_login: not used"),
        ({**KEY, "mode": "smpp"}, "mode"),
        ({**KEY, "url": "mts"}, "url"),
    ],
)
def test_bad_settings_are_refused_by_name_without_showing_secrets(settings, says):
    with pytest.raises(ValidationError, match=says) as raised:
        M2mSettings(**settings)

    assert not re.search("s3cr|gw_password", str(raised.value))


@pytest.mark.parametrize(
    ("settings", "address"),
    [
        (KEY, "https://api.mcommunicator.ru/m2m/m2m_api.asmx"),
        (OMNICHANNEL, "https://omnichannel.mts.ru/http-api/v1"),
        ({**OMNICHANNEL, "url": "https://stage.test/v1/"}, "https://stage.test/v1"),
    ],
)
def test_each_mode_has_its_own_address(settings, address):
    assert M2mSettings(**settings).service_url == address


def test_no_secret_is_shown_with_the_settings():
    settings = M2mSettings(**PAIR)

    assert not any(secret in repr(settings) for secret in settings.secrets)
