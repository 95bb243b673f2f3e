import email
import email.policy
from datetime import timedelta
from typing import Any

import pytest

from connectors.base import (
    Attachment,
    Misconfigured,
    Rejected,
    Unavailable,
    registry,
)
from connectors.smtp.connector import Smtp
from tests.connectors.smtp.mail import ANN, BOB, CY, failure, mail
from tests.doubles.smtp_authority import Authority
from tests.doubles.smtp_server import MailServer


def test_the_envelope_is_all_recipients_once_or_those_that_remain(start: Any, connect: Any) -> None:
    server = start(MailServer())
    connector = connect(server, return_path="bounces@example.org")
    connector.send(mail(cc=(BOB, "ann@EXAMPLE.com"), bcc=(BOB, CY)))
    connector.send(mail(cc=(BOB,), bcc=(CY,), remaining=(CY,)))
    assert [one.rcpt_tos for one in server.mails] == [[ANN, BOB, CY], [CY]]
    assert {one.mail_from for one in server.mails} == {"bounces@example.org"}
    assert "Cc: bob@example.com" in server.mails[1].content.decode()


NEVER, LATER, SPLIT = "550 5.1.1 Unknown", "450 4.2.1 Busy", "452 4.5.3 Too many"
GREY = "451 4.7.1 Greylisted"


@pytest.mark.parametrize(
    ("refuse", "served", "error", "code", "remaining", "refused", "wait"),
    [
        ({BOB: NEVER}, [ANN, CY], None, "2.0.0", None, {BOB}, None),
        ({ANN: NEVER, BOB: NEVER}, [CY], None, "2.0.0", None, {ANN, BOB}, None),
        ({BOB: LATER}, [ANN, CY], Unavailable, "4.2.1", (BOB,), set(), None),
        ({ANN: NEVER, BOB: LATER}, [CY], Unavailable, "4.2.1", (BOB,), {ANN}, None),
        ({ANN: NEVER, BOB: LATER, CY: NEVER}, [], Unavailable, "4.2.1", (BOB,), {ANN, CY}, None),
        ({ANN: NEVER, BOB: NEVER, CY: "550 5.7.1 No"}, [], Rejected, "5.1.1", None, set(), None),
        ({ANN: LATER, BOB: GREY, CY: GREY}, [], Unavailable, "4.2.1", (ANN, BOB, CY), set(), 300),
        ({BOB: SPLIT}, [ANN], Unavailable, "4.5.3", (BOB, CY), set(), 1),
        ({BOB: "550 5.5.3 Too many"}, [ANN], Unavailable, "5.5.3", (BOB, CY), set(), 1),
        ({BOB: "530 5.7.0 Log in"}, [], Misconfigured, "5.7.0", None, set(), None),
    ],
)
def test_each_recipient_fares_for_itself(
    *,
    refuse: Any, served: Any, error: Any, code: str, remaining: Any, refused: Any, wait: Any,
    start: Any, connect: Any,
) -> None:  # fmt: skip
    server = start(MailServer())
    server.refuse = refuse
    message, connector = mail(cc=(BOB,), bcc=(CY,)), connect(server)
    if error is None:
        outcome: Any = connector.send(message)
    else:
        outcome = failure(connector, message)
        assert type(outcome) is error
    assert outcome.code == code
    assert [one.rcpt_tos for one in server.mails] == ([served] if served else [])
    if error in {None, Unavailable}:
        assert set(outcome.refused) == refused
        assert all(reason == NEVER for reason in outcome.refused.values())
    if error is Unavailable:
        assert outcome.remaining == remaining
        assert outcome.retry_after == (timedelta(seconds=wait) if wait else None)


def test_a_greylisted_mail_waits_and_is_then_taken_as_the_same_mail(
    authority: Authority, start: Any, connect: Any
) -> None:
    server = start(MailServer(authority.server(), require_starttls=True))
    connector = connect(server, security="starttls", ca_file=authority.file)
    server.refuse = {ANN: GREY}
    error = failure(connector, mail())
    assert isinstance(error, Unavailable)
    assert (error.code, error.retry_after) == ("4.7.1", timedelta(minutes=5))
    assert server.mails == []

    server.refuse = {}
    accepted = connector.send(mail())
    [taken] = server.mails
    assert email.message_from_bytes(taken.content)["Message-ID"] == accepted.provider_message_id


def test_those_refused_for_good_are_not_tried_again_where_the_mail_must_wait(scripted: Any) -> None:
    _, connector = scripted({"RCPT": [NEVER, LATER, "250 Ok"], ".": "451 4.3.0 Later"})
    error = failure(connector, mail(cc=(BOB,), bcc=(CY,)))
    assert isinstance(error, Unavailable)
    assert (error.code, error.remaining, set(error.refused)) == ("4.3.0", (CY, BOB), {ANN})


def test_the_recipient_is_not_suppressed_for_another_ones_sake(scripted: Any) -> None:
    _, connector = scripted({"RCPT": NEVER})
    error = failure(connector, mail(cc=(BOB,), remaining=(BOB,)))
    assert isinstance(error, Rejected)
    assert not error.suppress


@pytest.mark.parametrize(
    ("extension", "fits"),
    [("SIZE 2000", False), ("SIZE 20000", True), ("SIZE 0", True), ("SIZE", True), ("X", True)],
)
def test_the_encoded_size_is_compared_before_anything_is_sent(
    extension: str, fits: bool, scripted: Any
) -> None:
    server, connector = scripted({}, extensions=(extension,))
    message = mail(attachments=(Attachment("a.bin", "application/octet-stream", bytes(1800)),))
    if fits:
        connector.send(message)
        announced = [command for command in server.commands if "SIZE=" in command]
        assert announced == (
            [f"MAIL FROM:<shop@example.org> SIZE={len(server.data[0])}"]
            if extension.startswith("SIZE")
            else []
        )
    else:
        error = failure(connector, message)
        assert (type(error), error.code) == (Rejected, "5.3.4")
        assert server.verbs == ["EHLO"]


def test_a_domain_in_any_script_needs_no_extension(start: Any, connect: Any) -> None:
    server = start(MailServer())
    server.refuse = {"b@xn--strae-oqa.example": NEVER}
    accepted = connect(server).send(mail(recipient="a@BÜCHER.example", cc=("b@straße.example",)))
    assert server.mails[0].rcpt_tos == ["a@xn--bcher-kva.example"]
    assert set(accepted.refused) == {"b@straße.example"}


@pytest.mark.parametrize(
    "fields",
    [
        {"recipient": "jörg@example.com"},
        {"bcc": ("jörg@example.com",)},
        {"sender": "jörg@example.org"},
    ],
)
def test_a_local_part_in_any_script_needs_smtputf8(fields: Any, start: Any, connect: Any) -> None:
    plain, able = start(MailServer()), start(MailServer(enable_SMTPUTF8=True))
    error = failure(connect(plain), mail(**fields))
    assert (type(error), error.code) == (Rejected, "5.6.7")
    connect(able).send(mail(**fields, subject="Grüße"))
    [envelope] = able.mails
    assert "SMTPUTF8" in envelope.mail_options
    parsed = email.message_from_bytes(envelope.content, policy=email.policy.SMTPUTF8)
    assert parsed["Subject"] == "Grüße"


RAW_8BIT = "From: a@example.org\nContent-Type: text/plain; charset=utf-8\n\nGrüße\n"


@pytest.mark.parametrize("hidden", [set(), {"8BITMIME"}])
def test_8_bit_content_is_converted_where_the_server_needs_it(
    hidden: Any, start: Any, connect: Any
) -> None:
    server = start(MailServer())
    server.hide = hidden
    connect(server).send(mail(payload={"mime": RAW_8BIT}))
    [envelope] = server.mails
    assert envelope.content.isascii() == bool(hidden)
    assert ("BODY=8BITMIME" in envelope.mail_options) == (not hidden)
    parsed = email.message_from_bytes(envelope.content, policy=email.policy.default)
    assert parsed.get_content() == "Grüße\r\n"


@pytest.mark.parametrize("charset", ["", "; charset=no-such"])
def test_8_bit_content_of_unknown_charset_is_refused_by_itself(
    charset: str, start: Any, connect: Any
) -> None:
    server = start(MailServer())
    server.hide = {"8BITMIME"}
    raw = RAW_8BIT.replace("; charset=utf-8", charset)
    error = failure(connect(server), mail(payload={"mime": raw}))
    assert (type(error), error.code) == (Rejected, "5.6.3")


SMUGGLED = [
    f"before{end}.{end2}MAIL FROM:<evil@example.net>{end2}.{end}after"
    for end in ("\r\n", "\n", "\r")
    for end2 in ("\r\n", "\n", "\r")
]


@pytest.mark.parametrize("text", [*SMUGGLED, ".", "..", ".\r\n", "\n.\n", "", ".hidden\n..\n"])
@pytest.mark.parametrize("raw", [True, False])
def test_no_text_ends_the_mail_early(text: str, raw: bool, scripted: Any) -> None:
    server, connector = scripted({})
    payload = {"mime": f"From: a@example.org\nSubject: x\n\n{text}"} if raw else None
    connector.send(mail(body=text, payload=payload))

    [data] = server.data
    assert server.verbs == ["EHLO", "MAIL", "RCPT", "DATA"]
    assert b"\r" not in data.replace(b"\r\n", b"")
    assert b"\n" not in data.replace(b"\r\n", b"")
    unstuffed = b"\r\n".join(line.removeprefix(b".") for line in data.split(b"\r\n"))
    parsed = email.message_from_bytes(unstuffed, policy=email.policy.default)
    content = parsed.get_content().replace("\r\n", "\n").rstrip("\n")
    assert content == text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")


@pytest.mark.parametrize("field", ["recipient", "cc", "bcc", "sender", "remaining", "reply_to"])
@pytest.mark.parametrize(
    "address",
    [
        "a@example.com> SIZE=1",
        "a@example.com\r\nRCPT TO:<evil@example.net>",
        "a@example.com\0",
        '"a> RCPT TO:<evil"@example.net',
        "a@example.com, b@example.com",
        "<>",
        "<a@example.com",
        "a@example.com>",
        "@example.com",
        "a@[127.0.0.1]",
        "a@exa mple.com",
        "group: a@example.com;",
    ],
)
def test_an_address_that_is_none_never_reaches_the_server(
    field: str, address: str, scripted: Any
) -> None:
    server, connector = scripted({})
    value = (address,) if field in {"cc", "bcc", "remaining"} else address
    assert isinstance(failure(connector, mail(**{field: value})), Rejected)
    assert server.connections == 0


def test_it_is_found_by_its_name() -> None:
    assert registry.load("smtp") is Smtp
    assert Smtp.channels == {"email"}
    assert Smtp.attachment_sources == {"content"}
