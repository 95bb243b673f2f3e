"""The rules that every installed connector follows."""

import socket
import subprocess
import sys
from datetime import timedelta
from importlib.metadata import EntryPoint
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


CONNECTORS = [(name, registry.load(name)) for name in sorted(MINIMAL_SETTINGS)]


def test_connectors_are_registered():
    assert set(registry.names()) >= set(MINIMAL_SETTINGS)


def test_unknown_connector_is_reported_with_the_installed_ones():
    with pytest.raises(LookupError, match=r"'pigeon'.*gateway"):
        registry.load("pigeon")


def test_entry_point_that_is_not_a_connector_is_reported(monkeypatch):
    wrong = EntryPoint("wrong", "json:dumps", registry.ENTRY_POINT_GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda **_: [wrong])

    with pytest.raises(LookupError, match="'wrong'"):
        registry.load("wrong")


def test_settings_are_immutable_and_reject_unknown_keys():
    for name, connector_class in CONNECTORS:
        settings_class = connector_class.Settings
        assert issubclass(settings_class, ConnectorSettings)
        with pytest.raises(ValidationError, match="no_such_key"):
            settings_class(**MINIMAL_SETTINGS[name], no_such_key=1)
        settings = settings_class(**MINIMAL_SETTINGS[name])
        with pytest.raises(ValidationError, match="frozen"):
            setattr(settings, next(iter(MINIMAL_SETTINGS[name])), "other")


def test_channels_and_attachment_sources_are_known_ones():
    failures = [
        name
        for name, connector_class in CONNECTORS
        if not connector_class.channels
        or not connector_class.channels <= set(get_args(Channel))
        or not connector_class.attachment_sources <= set(get_args(AttachmentSource))
    ]
    assert not failures


def test_connector_is_created_and_closed_without_using_the_network(monkeypatch):
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("the constructor used the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    for name, connector_class in CONNECTORS:
        connector = connector_class(connector_class.Settings(**MINIMAL_SETTINGS[name]))
        connector.close()
        assert connector.send_timeout > timedelta(0), name


LIGHT_MODULES = """
import sys
import connectors.base, connectors.toolkit.guard
heavy = {"requests", "urllib3", "cryptography", "google.auth", "jsonpath", "boto3", "http.client"}
print(sorted(heavy & set(sys.modules)))
import connectors.api.connector, connectors.gateway.connector
print(sorted({"google.auth", "cryptography", "jsonpath"} & set(sys.modules)))
"""


def test_large_libraries_are_not_imported_before_they_are_used():
    command = [sys.executable, "-c", LIGHT_MODULES]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n[]\n"
