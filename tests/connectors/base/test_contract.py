"""What holds for every registered connector."""

import socket
from datetime import timedelta
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from connectors.base import AttachmentSource, Channel, ConnectorSettings, registry
from tests.doubles.service_accounts import key_file

MINIMAL_SETTINGS: dict[str, dict[str, Any]] = {
    "api": {"uri": "http://127.0.0.1:1"},
    "fcm": {"service_account": key_file()},
    "gateway": {"url": "http://127.0.0.1:1"},
    "m2m": {"api_key": "key"},
    "sendgrid": {"api_key": "SG.key"},
    "sba": {"user_name": "shop-api", "password": "p"},
    "smtp": {"host": "127.0.0.1"},
    "twilio": {"account_sid": "AC" + "a" * 32, "auth_token": "secret", "sender": "+15005550006"},
}


@pytest.fixture(params=registry.names())
def name(request) -> str:
    return request.param


def test_our_connectors_are_registered():
    assert set(registry.names()) >= set(MINIMAL_SETTINGS)


def test_unknown_connector_error_lists_the_installed_ones():
    with pytest.raises(LookupError, match=r"'pigeon'.*gateway"):
        registry.load("pigeon")


def test_settings_are_frozen_and_reject_unknown_keys(name):
    settings_class = registry.load(name).Settings
    assert issubclass(settings_class, ConnectorSettings)

    with pytest.raises(ValidationError, match="no_such_key"):
        settings_class(**MINIMAL_SETTINGS[name], no_such_key=1)
    settings = settings_class(**MINIMAL_SETTINGS[name])
    with pytest.raises(ValidationError, match="frozen"):
        setattr(settings, next(iter(MINIMAL_SETTINGS[name])), "other")


def test_channels_and_attachment_sources_are_valid(name):
    connector_class = registry.load(name)

    assert connector_class.channels
    assert connector_class.channels <= set(get_args(Channel))
    assert connector_class.attachment_sources <= set(get_args(AttachmentSource))


def test_connector_opens_no_connection_before_the_first_send(name, monkeypatch):
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("the constructor used the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    connector_class = registry.load(name)

    connector = connector_class(connector_class.Settings(**MINIMAL_SETTINGS[name]))
    connector.close()

    assert connector.send_timeout > timedelta(0)
