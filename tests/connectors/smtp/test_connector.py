import email
import email.policy
from datetime import timedelta
from typing import Any

from connectors.base import Accepted, Attachment, Misconfigured, Rejected, Unavailable, registry
from connectors.smtp.connector import Smtp
from connectors.toolkit.mail.incoming import read_mail
from tests.connectors.sending import outcome
from tests.connectors.smtp.mail import ANN, BOB, CY, failure, mail
from tests.doubles.smtp_server import MailServer

UID = "0190f3c2-7a30-7e52-a0cd-6a3c5d0b2f11"
NO_MAILBOX, BUSY = "550 5.1.1 Unknown", "450 4.2.1 Busy"
GREYLISTED, TOO_MANY = "451 4.7.1 Greylisted", "452 4.5.3 Too many"


def envelope(server: Any) -> list[str]:
    return [line for line in server.commands if line.startswith(("MAIL", "RCPT"))]


def test_connector_is_registered_as_smtp() -> None:
    assert registry.load("smtp") is Smtp
    assert Smtp.channels == {"email"}
    assert Smtp.attachment_sources == {"content"}


def test_envelope_has_each_recipient_once_or_only_those_that_remain(
    server: MailServer, connect: Any
) -> None:
    connector = connect(return_path="bounces@example.org")
    connector.send(mail(cc=(BOB, "ann@EXAMPLE.com"), bcc=(BOB, CY)))
    connector.send(mail(cc=(BOB,), bcc=(CY,), remaining=(CY,)))
    assert [one.rcpt_tos for one in server.mails] == [[ANN, BOB, CY], [CY]]
    assert {one.mail_from for one in server.mails} == {"bounces@example.org"}
    assert "Cc: bob@example.com" in server.mails[1].content.decode()


def test_return_path_contains_the_uid_where_configured(server: MailServer, connect: Any) -> None:
    paths = ("bounces+{uid}@example.org", "{uid}@bounces.example.org", "bounces@example.org")
    for path in paths:
        connect(return_path=path).send(mail(uid=UID))
    assert [one.mail_from for one in server.mails] == [path.format(uid=UID) for path in paths]

    reply = b"From: ann@example.com\nAuto-Submitted: auto-replied\n\nI am away"
    [read] = read_mail(reply, envelope_recipients=[server.mails[0].mail_from])
    assert getattr(read, "in_reply_to", None) == (UID,)


def test_dsn_parameters_are_sent_only_to_servers_that_support_them(scripted: Any) -> None:
    server, connector = scripted({}, extensions=("DSN",))
    connector.send(mail(uid=UID, recipient="ann+news=1@example.com", bcc=(BOB,)))
    assert envelope(server) == [
        f"MAIL FROM:<shop@example.org> ENVID={UID}",
        "RCPT TO:<ann+news=1@example.com> ORCPT=rfc822;ann+2Bnews+3D1@example.com",
        "RCPT TO:<bob@example.com> ORCPT=rfc822;bob@example.com",
    ]

    server, connector = scripted({}, extensions=())
    connector.send(mail(uid=UID))
    assert envelope(server) == ["MAIL FROM:<shop@example.org>", "RCPT TO:<ann@example.com>"]

    server, connector = scripted({}, extensions=("DSN", "SMTPUTF8", "8BITMIME"))
    connector.send(mail(uid=UID, recipient="jürgen@example.com"))
    assert envelope(server)[1] == "RCPT TO:<jürgen@example.com>"


def test_each_recipient_is_served_deferred_or_refused_separately(
    server: MailServer, connect: Any
) -> None:
    failures = []
    for refuse, served, expected, remaining, refused, wait in [
        ({BOB: NO_MAILBOX}, [ANN, CY], (Accepted, "2.0.0"), None, {BOB}, None),
        ({ANN: NO_MAILBOX, BOB: NO_MAILBOX}, [CY], (Accepted, "2.0.0"), None, {ANN, BOB}, None),
        ({BOB: BUSY}, [ANN, CY], (Unavailable, "4.2.1"), (BOB,), set(), None),
        ({ANN: NO_MAILBOX, BOB: BUSY}, [CY], (Unavailable, "4.2.1"), (BOB,), {ANN}, None),
        (
            {ANN: NO_MAILBOX, BOB: BUSY, CY: NO_MAILBOX},
            [], (Unavailable, "4.2.1"), (BOB,), {ANN, CY}, None,
        ),
        (
            {ANN: NO_MAILBOX, BOB: NO_MAILBOX, CY: "550 5.7.1 No"},
            [], (Rejected, "5.1.1"), None, set(), None,
        ),
        (
            {ANN: BUSY, BOB: GREYLISTED, CY: GREYLISTED},
            [], (Unavailable, "4.2.1"), (ANN, BOB, CY), set(), 300,
        ),
        ({BOB: TOO_MANY}, [ANN], (Unavailable, "4.5.3"), (BOB, CY), set(), 1),
        ({BOB: "550 5.5.3 Too many"}, [ANN], (Unavailable, "5.5.3"), (BOB, CY), set(), 1),
        ({BOB: "530 5.7.0 Log in"}, [], (Misconfigured, "5.7.0"), None, set(), None),
    ]:  # fmt: skip
        server.reset()
        server.refuse = refuse
        result: Any = outcome(connect(), mail(cc=(BOB,), bcc=(CY,)))
        found = (
            [recipient for one in server.mails for recipient in one.rcpt_tos],
            (type(result), result.code),
            getattr(result, "remaining", None),
            getattr(result, "refused", {}),
            getattr(result, "retry_after", None),
        )
        if found != (
            served,
            expected,
            remaining,
            dict.fromkeys(refused, NO_MAILBOX),
            timedelta(seconds=wait) if wait else None,
        ):
            failures.append((refuse, found))
    assert not failures


def test_greylisted_mail_is_accepted_later_with_the_same_message_id(
    server: MailServer, connect: Any
) -> None:
    connector = connect()
    server.refuse = {ANN: GREYLISTED}
    error = failure(connector, mail())
    assert isinstance(error, Unavailable)
    assert (error.code, error.retry_after) == ("4.7.1", timedelta(minutes=5))
    assert server.mails == []

    server.refuse = {}
    accepted = connector.send(mail())
    [taken] = server.mails
    assert email.message_from_bytes(taken.content)["Message-ID"] == accepted.provider_message_id


def test_refused_recipients_are_left_out_of_the_next_attempt(scripted: Any) -> None:
    for stage, reply, code in [
        (".", "451 4.3.0 Later", "4.3.0"),
        (".", "421 4.3.2 Shutting down", "4.3.2"),
        ("DATA", "451 4.3.0 Later", "4.3.0"),
    ]:
        _, connector = scripted({"RCPT": [NO_MAILBOX, BUSY, "250 Ok"], stage: reply})
        error = failure(connector, mail(cc=(BOB,), bcc=(CY,)))
        assert isinstance(error, Unavailable)
        assert (error.code, error.remaining, set(error.refused)) == (code, (CY, BOB), {ANN})


def test_only_the_messages_own_recipient_is_suppressed(scripted: Any) -> None:
    _, connector = scripted({"RCPT": NO_MAILBOX})
    own = failure(connector, mail())
    other = failure(connector, mail(cc=(BOB,), remaining=(BOB,)))
    assert [getattr(error, "suppress", None) for error in (own, other)] == [True, False]


def test_deferral_by_the_recipients_mailbox_is_a_soft_bounce(scripted: Any) -> None:
    rows = [
        ("452 4.2.2 Mailbox full", True),
        ("552 5.2.2 Over quota", True),
        ("450 4.7.1 Greylisted", False),
        ("421 4.7.0 Too many connections from your IP address", False),
    ]
    found = []
    for reply, _ in rows:
        _, connector = scripted({"RCPT": reply})
        error = failure(connector, mail())
        assert isinstance(error, Unavailable)
        found.append((reply, error.is_soft_bounce))
    assert found == rows


def test_size_is_checked_before_anything_is_sent(scripted: Any) -> None:
    message = mail(attachments=(Attachment("a.bin", "application/octet-stream", bytes(1800)),))
    for extension, announces in [
        ("SIZE 20000", True),
        ("SIZE 0", True),
        ("SIZE", True),
        ("X", False),
    ]:
        server, connector = scripted({}, extensions=(extension,))
        connector.send(message)
        size = f" SIZE={len(server.data[0])}" if announces else ""
        assert server.commands[1] == f"MAIL FROM:<shop@example.org>{size}"

    server, connector = scripted({}, extensions=("SIZE 2000",))
    error = failure(connector, message)
    assert (type(error), error.code) == (Rejected, "5.3.4")
    assert server.verbs == ["EHLO"]


def test_international_domain_needs_no_extension(server: MailServer, connect: Any) -> None:
    server.refuse = {"b@xn--strae-oqa.example": NO_MAILBOX}
    accepted = connect().send(mail(recipient="a@BÜCHER.example", cc=("b@straße.example",)))
    assert server.mails[0].rcpt_tos == ["a@xn--bcher-kva.example"]
    assert set(accepted.refused) == {"b@straße.example"}


def test_international_local_part_needs_smtputf8(
    server: MailServer, start: Any, connect: Any
) -> None:
    with_smtputf8 = start(MailServer(enable_SMTPUTF8=True))
    for fields in (
        {"recipient": "jörg@example.com"},
        {"bcc": ("jörg@example.com",)},
        {"sender": "jörg@example.org"},
    ):
        error = failure(connect(), mail(**fields))
        assert (type(error), error.code) == (Rejected, "5.6.7")
        connect(with_smtputf8).send(mail(**fields, subject="Grüße"))
    assert len(with_smtputf8.mails) == 3
    for taken in with_smtputf8.mails:
        assert "SMTPUTF8" in taken.mail_options
        parsed = email.message_from_bytes(taken.content, policy=email.policy.SMTPUTF8)
        assert parsed["Subject"] == "Grüße"


def test_8_bit_content_is_converted_for_servers_without_8bitmime(
    server: MailServer, connect: Any
) -> None:
    content = "From: a@example.org\nContent-Type: text/plain; charset=utf-8\n\nGrüße\n"
    connect().send(mail(payload={"mime": content}))
    server.hide = {"8BITMIME"}
    connect().send(mail(payload={"mime": content}))

    unchanged, converted = server.mails
    assert (unchanged.content.isascii(), converted.content.isascii()) == (False, True)
    assert "BODY=8BITMIME" in unchanged.mail_options
    assert "BODY=8BITMIME" not in converted.mail_options
    for taken in server.mails:
        parsed = email.message_from_bytes(taken.content, policy=email.policy.default)
        assert parsed.get_content() == "Grüße\r\n"

    for charset in ("", "; charset=no-such"):
        unknown = content.replace("; charset=utf-8", charset)
        error = failure(connect(), mail(payload={"mime": unknown}))
        assert (type(error), error.code) == (Rejected, "5.6.3")


def test_no_text_in_a_mail_can_end_it_early(scripted: Any) -> None:
    ends = ("\r\n", "\n", "\r")
    smuggled = [
        f"before{end}.{end2}MAIL FROM:<evil@example.net>{end2}.{end}after"
        for end in ends
        for end2 in ends
    ]
    texts = [*smuggled, ".", "..", ".\r\n", "\n.\n", "", ".hidden\n..\n"]
    server, connector = scripted({})
    failures = []
    for text in texts:
        for payload in (None, {"mime": f"From: a@example.org\nSubject: x\n\n{text}"}):
            connector.send(mail(body=text, payload=payload))
            data = server.data[-1]
            bare = data.replace(b"\r\n", b"")
            unstuffed = b"\r\n".join(line.removeprefix(b".") for line in data.split(b"\r\n"))
            parsed = email.message_from_bytes(unstuffed, policy=email.policy.default)
            content = parsed.get_content().replace("\r\n", "\n").rstrip("\n")
            expected = text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
            if b"\r" in bare or b"\n" in bare or content != expected:
                failures.append((text, payload, data))
    assert not failures
    assert len(server.data) == 2 * len(texts)
    assert set(server.verbs) == {"EHLO", "MAIL", "RCPT", "DATA", "RSET"}
    assert server.verbs.count("MAIL") == 2 * len(texts)


def test_invalid_addresses_never_reach_the_server(server: MailServer, connect: Any) -> None:
    connector = connect()
    failures = []
    for address in [
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
    ]:
        for field in ("recipient", "cc", "bcc", "sender", "remaining", "reply_to"):
            value = (address,) if field in {"cc", "bcc", "remaining"} else address
            result = outcome(connector, mail(**{field: value}))
            if not isinstance(result, Rejected):
                failures.append((field, address, result))
    assert not failures
    assert server.connections == 0
