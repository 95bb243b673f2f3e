from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.smtp.connector import SmtpSettings
from tests.connectors.smtp.mail import CREDENTIALS


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"security": "plain", "username": "u", "password": "hush-hush"}, "credentials need"),
        ({"username": "u"}, "go together"),
        ({"password": "hush-hush"}, "go together"),
        ({"username": "u", "password": "hüsh-hush"}, "must be ASCII"),
        ({"security": "ssl"}, "security"),
        ({"security": None}, "security"),
        ({"port": 0}, "port"),
        ({"host": "mx.example.net\r\nQUIT"}, "host"),
        ({"host": ""}, "host"),
        ({"helo_name": "a b"}, "helo_name"),
        ({"sender": "nobody"}, "sender"),
        ({"sender": "a@example.org, b@example.org"}, "sender"),
        ({"return_path": "Name <a@example.org>"}, "return_path"),
        ({"return_path": "a@example.org> SIZE=1"}, "return_path"),
        ({"ca_file": "/no/such/file"}, "ca_file"),
        ({"ca_file": __file__}, "ca_file"),
        ({"total_timeout_seconds": 5}, "total_timeout_seconds"),
        ({"idle_seconds": float("inf")}, "idle_seconds"),
        ({"starttls": True}, "starttls"),
    ],
)
def test_bad_settings_are_named_and_quoted_nowhere(settings: Any, says: str) -> None:
    with pytest.raises(ValidationError, match=says) as caught:
        SmtpSettings(**{"host": "mx.example.net", **settings})
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "::1"])
def test_credentials_may_go_in_plain_text_to_this_very_host(host: str) -> None:
    assert SmtpSettings(host=host, security="plain", **CREDENTIALS).port_number == 25


def test_ports_follow_security() -> None:
    assert SmtpSettings(host="mx.example.net").security == "starttls"
    assert SmtpSettings(host="mx.example.net").port_number == 587
    assert SmtpSettings(host="mx.example.net", security="tls").port_number == 465
    assert SmtpSettings(host="mx.example.net", port=2525).port_number == 2525


def test_the_deadline_is_the_total_limit(scripted: Any) -> None:
    _, connector = scripted({}, {"total_timeout_seconds": 77})
    assert connector.deadline == timedelta(seconds=77)
