import re
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.m2m.settings import M2mSettings
from tests.connectors.m2m.soap_bodies import API_KEY, LOGIN, OMNICHANNEL


def test_invalid_settings_are_rejected_without_quoting_secrets():
    secret = {"webhook_secrets": ["s3cret-of-sixteen"]}
    needs_login = "omnichannel needs login, password and sender"
    table: list[tuple[dict[str, Any], str]] = [
        ({}, "needs either api_key"),
        ({**API_KEY, **LOGIN}, "needs either api_key"),
        ({"login": "s3cret"}, "only one is set"),
        ({"password": "s3cret"}, "only one is set"),
        ({"login": "a:s3cret", "password": "p"}, "login"),
        ({"login": "a", "password": ""}, "password"),
        ({"api_key": "s3crёt"}, "api_key"),
        ({"mode": "omnichannel", **LOGIN}, needs_login),
        ({"mode": "omnichannel", "sender": "A", **API_KEY}, needs_login),
        ({**OMNICHANNEL, **API_KEY}, needs_login),
        ({**API_KEY, "sender": ""}, "sender"),
        ({**API_KEY, **secret}, "only for mode soap with a sender"),
        ({**OMNICHANNEL, **secret}, "only for mode soap with a sender"),
        ({**API_KEY, "sender": "A", "webhook_secrets": ["s3cret"]}, "webhook_secrets"),
        ({**API_KEY, "sender": "A", "webhook_secrets": ["s3cret-of-sixteen"] * 3}, "at most 2"),
        ({**API_KEY, "webhook_login": "mts"}, "not used without webhook_secrets"),
    ]
    failures = []
    for settings, expected in table:
        with pytest.raises(ValidationError) as raised:
            M2mSettings(**settings)
        text = str(raised.value)
        if expected not in text or re.search("s3cr|gw_password", text):
            failures.append((settings, text))
    assert not failures


def test_each_mode_has_its_own_default_url():
    soap, omnichannel = M2mSettings(**API_KEY), M2mSettings(**OMNICHANNEL)
    staging = M2mSettings(**OMNICHANNEL, url="https://stage.test/v1/")

    assert soap.service_url == "https://api.mcommunicator.ru/m2m/m2m_api.asmx"
    assert omnichannel.service_url == "https://omnichannel.mts.ru/http-api/v1"
    assert staging.service_url == "https://stage.test/v1"


def test_no_secret_is_shown_with_the_settings():
    settings = M2mSettings(**LOGIN)

    assert not any(secret in repr(settings) for secret in settings.secrets)
