"""What a mail takes along so that its bounces name it: a return path and an envelope of its own."""

from typing import Any

import pytest
from pydantic import ValidationError

from connectors.smtp.connector import SmtpSettings
from connectors.toolkit.mail.incoming import read_mail
from tests.connectors.smtp.mail import BOB, mail
from tests.doubles.smtp_server import MailServer

UID = "0190f3c2-7a30-7e52-a0cd-6a3c5d0b2f11"


@pytest.mark.parametrize(
    ("return_path", "sender"),
    [
        ("bounces+{uid}@example.org", f"bounces+{UID}@example.org"),
        ("{uid}@bounces.example.org", f"{UID}@bounces.example.org"),
        ("bounces@example.org", "bounces@example.org"),
    ],
)
def test_the_return_path_holds_the_uid_where_it_is_to(
    return_path: str, sender: str, start: Any, connect: Any
) -> None:
    server = start(MailServer())
    connect(server, return_path=return_path).send(mail(uid=UID))
    [taken] = server.mails
    assert taken.mail_from == sender


def test_a_bounce_to_the_return_path_names_the_message(start: Any, connect: Any) -> None:
    server = start(MailServer())
    connect(server, return_path="bounces+{uid}@example.org").send(mail(uid=UID))
    [taken] = server.mails
    reply = b"From: ann@example.com\nAuto-Submitted: auto-replied\n\nI am away"
    [read] = read_mail(reply, envelope_recipient=taken.mail_from)
    assert getattr(read, "in_reply_to", None) == (UID,)


@pytest.mark.parametrize(
    ("return_path", "says"),
    [
        ("bounces+{id}@example.org", "no other placeholder"),
        ("bounces+{@example.org", "no other placeholder"),
        ("b" * 29 + "{uid}@example.org", "longer than 64 characters"),
        ("bounces@{uid}.example.org@", "return_path"),
    ],
)
def test_a_return_path_that_nobody_could_write_to_is_refused(return_path: str, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        SmtpSettings(host="mx.example.net", return_path=return_path)
    SmtpSettings(host="mx.example.net", return_path="b" * 28 + "{uid}@example.org")


def envelope(server: Any) -> list[str]:
    return [line for line in server.commands if line.startswith(("MAIL", "RCPT"))]


def test_a_server_with_dsn_is_told_the_envelope_id_and_each_original_recipient(
    scripted: Any,
) -> None:
    server, connector = scripted({}, extensions=("DSN",))
    connector.send(mail(uid=UID, recipient="ann+news=1@example.com", bcc=(BOB,)))
    assert envelope(server) == [
        f"MAIL FROM:<shop@example.org> ENVID={UID}",
        "RCPT TO:<ann+news=1@example.com> ORCPT=rfc822;ann+2Bnews+3D1@example.com",
        "RCPT TO:<bob@example.com> ORCPT=rfc822;bob@example.com",
    ]


def test_a_server_without_dsn_is_told_neither(scripted: Any) -> None:
    server, connector = scripted({}, extensions=())
    connector.send(mail(uid=UID))
    assert envelope(server) == ["MAIL FROM:<shop@example.org>", "RCPT TO:<ann@example.com>"]


def test_an_address_beyond_ascii_has_no_original_recipient_of_that_type(scripted: Any) -> None:
    server, connector = scripted({}, extensions=("DSN", "SMTPUTF8", "8BITMIME"))
    connector.send(mail(uid=UID, recipient="jürgen@example.com"))
    assert envelope(server)[1] == "RCPT TO:<jürgen@example.com>"
