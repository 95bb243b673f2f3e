from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.smtp.connector import Smtp
from connectors.smtp.settings import SmtpSettings
from tests.connectors.smtp.mail import CREDENTIALS

MAILBOX = {"host": "imap.example.net", "username": "u", "password": "hush-hush"}


def error_of(**settings: Any) -> str:
    try:
        SmtpSettings(**{"host": "mx.example.net", **settings})
    except ValidationError as error:
        return str(error)
    return "no error"


def test_invalid_settings_are_named_without_showing_secrets() -> None:
    plain = {"security": "plain", "username": "u", "password": "hush-hush"}
    failures = []
    for settings, text in [
        (plain, "security: credentials must not be sent"),
        ({"username": "u"}, "username, password: set both"),
        ({"password": "hush-hush"}, "username, password: set both"),
        ({"username": "u", "password": "hüsh-hush"}, "only printable ASCII"),
        ({"host": "mx.example.net\r\nQUIT"}, "host"),
        ({"helo_name": "a b"}, "helo_name"),
        ({"sender": "nobody"}, "sender"),
        ({"sender": "a@example.org, b@example.org"}, "sender"),
        ({"return_path": "Name <a@example.org>"}, "without a display name"),
        ({"return_path": "a@example.org> SIZE=1"}, "return_path"),
        ({"return_path": "bounces+{id}@example.org"}, "Only {uid} is allowed"),
        ({"return_path": "bounces+{@example.org"}, "Only {uid} is allowed"),
        ({"return_path": "b" * 29 + "{uid}@example.org"}, "longer than 64 characters"),
        ({"return_path": "bounces@{uid}.example.org@"}, "return_path"),
        ({"ca_file": __file__}, "does not contain certificates"),
        ({"total_timeout_seconds": 5}, "total_timeout_seconds"),
        ({"mailbox": {**MAILBOX, "password": "hush-hush\r\nX"}}, "only printable ASCII"),
        ({"mailbox": {**MAILBOX, "username": "a b"}}, "username"),
        ({"mailbox": {**MAILBOX, "username": 'a"b'}}, "username"),
        ({"mailbox": {**MAILBOX, "security": "plain"}}, "security: credentials must not be sent"),
        ({"mailbox": {**MAILBOX, "folder": ""}}, "folder"),
        ({"mailbox": {**MAILBOX, "move_to": "a\r\nb"}}, "move_to"),
        ({"mailbox": {**MAILBOX, "move_to": "Done", "delete": True}}, "set only one of them"),
    ]:
        error = error_of(**settings)
        if text not in error or "hush" in error:
            failures.append((settings, error))
    assert not failures


def test_return_path_may_be_64_characters_long_with_the_uid() -> None:
    assert error_of(return_path="b" * 28 + "{uid}@example.org") == "no error"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "::1"])
def test_credentials_may_be_sent_unencrypted_to_localhost(host: str) -> None:
    assert SmtpSettings(host=host, security="plain", **CREDENTIALS).port_number == 25


def test_ports_follow_from_security() -> None:
    def ports(**settings: Any) -> tuple[int, int]:
        smtp = SmtpSettings(host="mx.example.net", mailbox={**MAILBOX, **settings}, **settings)
        assert smtp.mailbox is not None
        return smtp.port_number, smtp.mailbox.port_number

    assert ports() == (587, 993)
    assert ports(security="starttls") == (587, 143)
    assert ports(security="tls") == (465, 993)
    assert ports(port=2525) == (2525, 2525)


def test_deadline_is_the_total_timeout() -> None:
    connector = Smtp(SmtpSettings(host="mx.example.net", total_timeout_seconds=77))
    assert connector.send_timeout == timedelta(seconds=77)
