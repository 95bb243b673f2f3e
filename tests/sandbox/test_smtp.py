import smtplib
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any

import pytest

from sandbox.client import RunningSandbox

SENDER = "shop@example.com"


@pytest.fixture
def client(sandbox: RunningSandbox) -> Iterator[smtplib.SMTP]:
    client = smtplib.SMTP(sandbox.smtp_host, sandbox.smtp_port, timeout=30)
    yield client
    client.close()


def codes_of_tries(sandbox: RunningSandbox, mail: EmailMessage, to: str) -> list[int | str]:
    """What becomes of two tries, each on a connection of its own."""
    codes = []
    for _ in range(2):
        client = smtplib.SMTP(sandbox.smtp_host, sandbox.smtp_port, timeout=30)
        codes.append(code_of(client, mail, to))
        client.close()
    return codes


def code_of(client: smtplib.SMTP, mail: EmailMessage, to: str) -> int | str:
    """The code of the refusal, 250, or that the connection was closed without an answer."""
    try:
        client.send_message(mail, SENDER, [to])
    except smtplib.SMTPRecipientsRefused as refused:
        return refused.recipients[to][0]
    except smtplib.SMTPResponseException as refused:
        return refused.smtp_code
    except smtplib.SMTPServerDisconnected:
        return "closed"
    return 250


def test_mail_is_taken_and_shown(
    sandbox: RunningSandbox, client: smtplib.SMTP, mail: EmailMessage
) -> None:
    mail.add_alternative("<p>Guten Tag", subtype="html")
    mail.add_attachment(b"\x00\x01", maintype="application", subtype="pdf", filename="bill.pdf")
    client.login("user", "hush")
    client.send_message(mail, SENDER, ["ann@example.org", "bob@example.org"])

    [record] = sandbox.received(kind="smtp", to="Bob@example.org")
    assert record["from"] == SENDER
    assert record["to"] == ["ann@example.org", "bob@example.org"]
    assert (record["subject"], record["text"].strip()) == ("Grüße", "Guten Tag")
    assert record["key"] == record["headers"]["Message-ID"] == "<1@example.com>"
    assert "bill.pdf" in record["raw"]


@pytest.mark.parametrize(
    ("raw", "subject", "text"),
    [
        ("", "", ""),
        ("no header at all\r\n", "", "no header at all"),
        ("Subject: =?nonsense?q?x?=\r\n\r\nHi", "x", "Hi"),
        ("Content-Type: text/plain; charset=nonsense\r\n\r\nHi", "", "Hi"),
        ("Content-Type: multipart/mixed\r\n\r\nHi", "", ""),
        ("Message-ID: <\r\nSubject: a\r\n b\r\n\r\nHi", "a b", "Hi"),
    ],
)
def test_mangled_mail_is_taken_too(
    sandbox: RunningSandbox, client: smtplib.SMTP, raw: str, subject: str, text: str
) -> None:
    client.sendmail(SENDER, ["ann@example.org"], raw)

    [record] = sandbox.received()
    assert (record["subject"], record["text"].strip()) == (subject, text)


@pytest.mark.parametrize(
    ("mailbox", "codes"),
    [
        ("ann", [250, 250]),
        ("reject", [550, 550]),
        ("reject+tag", [550, 550]),
        ("greylist", [451, 250]),
        ("unavailable", [421, 421]),
        ("drop", ["closed", 250]),
    ],
)
def test_a_magic_mailbox_misbehaves(
    sandbox: RunningSandbox, mail: EmailMessage, mailbox: str, codes: list[int | str]
) -> None:
    assert codes_of_tries(sandbox, mail, f"{mailbox}@example.org") == codes


@pytest.mark.parametrize(
    ("do", "code", "kept"),
    [
        ({"status": 450}, 450, ["refused", "accepted"]),
        ({"status": 552, "at": "data"}, 552, ["refused", "accepted"]),
        ({"drop": "before"}, "closed", ["accepted"]),
        ({"drop": "after"}, "closed", ["dropped", "accepted"]),
        ({"slow_seconds": 0.01}, 250, ["accepted", "accepted"]),
    ],
)
def test_a_rule_holds_for_its_times(
    sandbox: RunningSandbox,
    mail: EmailMessage,
    do: dict[str, Any],
    code: int | str,
    kept: list[str],
) -> None:
    sandbox.control("ann@example.org", do, kind="smtp", times=1)

    assert codes_of_tries(sandbox, mail, "ann@example.org") == [code, 250]
    assert [record["outcome"] for record in sandbox.received(outcome="*")] == kept


def test_a_refusal_says_what_it_was_told_on_one_line(
    sandbox: RunningSandbox, client: smtplib.SMTP
) -> None:
    rule = {"status": 452, "enhanced": "4.2.2", "body": "mailbox\r\nfull"}
    sandbox.control("ann@example.org", rule)
    client.ehlo()
    client.mail(SENDER)

    assert client.rcpt("ann@example.org") == (452, b"4.2.2 mailbox full")


def test_421_closes_the_connection(sandbox: RunningSandbox, client: smtplib.SMTP) -> None:
    client.ehlo()
    client.mail(SENDER)

    assert client.rcpt("unavailable@example.org")[0] == 421
    with pytest.raises(smtplib.SMTPServerDisconnected):
        client.noop()


def test_one_refused_recipient_does_not_keep_the_others_from_theirs(
    sandbox: RunningSandbox, client: smtplib.SMTP, mail: EmailMessage
) -> None:
    refused = client.send_message(mail, SENDER, ["reject@example.org", "ann@example.org"])

    assert list(refused) == ["reject@example.org"]
    [record] = sandbox.received()
    assert record["to"] == ["ann@example.org"]


def test_a_mail_to_the_recipients_that_were_missed_is_no_copy(
    sandbox: RunningSandbox, client: smtplib.SMTP, mail: EmailMessage
) -> None:
    for to in "ann@example.org", "bob@example.org", "ann@example.org":
        client.send_message(mail, SENDER, [to])

    count = sandbox.count()
    assert (count["total"], count["distinct"]) == (3, 2)


def test_the_behaviour_of_one_mail_does_not_pass_to_the_next(
    sandbox: RunningSandbox, client: smtplib.SMTP, mail: EmailMessage
) -> None:
    sandbox.control("ann@example.org", {"status": 554, "at": "data"})

    codes = [code_of(client, mail, f"{name}@example.org") for name in ("ann", "bob")]

    assert codes == [554, 250]


def test_a_hanging_mail_is_recorded_and_never_answered(
    sandbox: RunningSandbox, client: smtplib.SMTP, mail: EmailMessage
) -> None:
    client.ehlo()
    client.mail(SENDER)
    client.rcpt("hang@example.org")
    client.docmd("DATA")
    client.send(mail.as_bytes(policy=mail.policy.clone(linesep="\r\n")) + b"\r\n.\r\n")
    while not sandbox.received(outcome="hung"):
        pass

    assert client.sock is not None
    client.sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        client.sock.recv(1)
    assert sandbox.count()["total"] == 0
