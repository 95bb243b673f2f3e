import smtplib
from collections.abc import Iterator
from email.message import EmailMessage

import pytest

from sandbox.client import RunningSandbox

SENDER = "shop@example.com"
ANN, BOB = "ann@example.org", "bob@example.org"


@pytest.fixture
def client(sandbox: RunningSandbox) -> Iterator[smtplib.SMTP]:
    client = smtplib.SMTP(sandbox.smtp_host, sandbox.smtp_port, timeout=30)
    yield client
    client.close()


@pytest.fixture
def mail() -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Shop <shop@example.com>"
    message["To"] = ANN
    message["Subject"] = "Grüße"
    message["Message-ID"] = "<1@example.com>"
    message.set_content("Guten Tag\n")
    return message


def codes_of_two_attempts(sandbox: RunningSandbox, mail: EmailMessage, to: str) -> list[object]:
    codes = []
    for _ in range(2):
        client = smtplib.SMTP(sandbox.smtp_host, sandbox.smtp_port, timeout=30)
        codes.append(send(client, mail, to))
        client.close()
    return codes


def send(client: smtplib.SMTP, mail: EmailMessage, to: str) -> object:
    """Return the response code, or that the connection was closed without a response."""
    try:
        client.send_message(mail, SENDER, [to])
    except smtplib.SMTPRecipientsRefused as refused:
        return refused.recipients[to][0]
    except smtplib.SMTPResponseException as refused:
        return refused.smtp_code
    except smtplib.SMTPServerDisconnected:
        return "closed"
    return 250


def test_mail_is_accepted_and_recorded(sandbox, client, mail):
    mail.add_alternative("<p>Guten Tag", subtype="html")
    mail.add_attachment(b"\x00\x01", maintype="application", subtype="pdf", filename="bill.pdf")
    client.login("user", "hush")
    client.send_message(mail, SENDER, [ANN, BOB])

    [record] = sandbox.received(kind="smtp", to="Bob@example.org")
    assert record["from"] == SENDER
    assert record["to"] == [ANN, BOB]
    assert (record["subject"], record["text"].strip()) == ("Grüße", "Guten Tag")
    assert record["key"] == record["headers"]["Message-ID"] == "<1@example.com>"
    assert "bill.pdf" in record["raw"]


def test_malformed_mail_is_accepted(sandbox, client):
    failures = []
    for raw, subject, text in [
        ("", "", ""),
        ("no header at all\r\n", "", "no header at all"),
        ("Subject: =?nonsense?q?x?=\r\n\r\nHi", "x", "Hi"),
        ("Content-Type: text/plain; charset=nonsense\r\n\r\nHi", "", "Hi"),
        ("Content-Type: multipart/mixed\r\n\r\nHi", "", ""),
        ("Message-ID: <\r\nSubject: a\r\n b\r\n\r\nHi", "a b", "Hi"),
    ]:
        sandbox.clear()
        client.sendmail(SENDER, [ANN], raw)
        [record] = sandbox.received()
        if (record["subject"], record["text"].strip()) != (subject, text):
            failures.append((raw, record["subject"], record["text"]))

    assert not failures


def test_magic_mailboxes_and_rules_decide_the_response(sandbox, mail):
    failures = []
    for mailbox, do, codes, outcomes in [
        ("ann", None, [250, 250], ["accepted", "accepted"]),
        ("reject", None, [550, 550], ["refused", "refused"]),
        ("reject+tag", None, [550, 550], ["refused", "refused"]),
        ("greylist", None, [451, 250], ["refused", "accepted"]),
        ("unavailable", None, [421, 421], ["refused", "refused"]),
        ("drop", None, ["closed", 250], ["dropped", "accepted"]),
        ("ann", {"status": 450}, [450, 250], ["refused", "accepted"]),
        ("ann", {"status": 552, "at": "data"}, [552, 250], ["refused", "accepted"]),
        ("ann", {"drop": "before"}, ["closed", 250], ["accepted"]),
        ("ann", {"drop": "after"}, ["closed", 250], ["dropped", "accepted"]),
        ("ann", {"slow_seconds": 0.01}, [250, 250], ["accepted", "accepted"]),
    ]:
        sandbox.clear()
        to = f"{mailbox}@example.org"
        if do is not None:
            sandbox.control(to, do, kind="smtp", times=1)
        found = codes_of_two_attempts(sandbox, mail, to)
        recorded = [record["outcome"] for record in sandbox.received(outcome="*")]
        if (found, recorded) != (codes, outcomes):
            failures.append((mailbox, do, found, recorded))

    assert not failures


def test_rule_sets_the_text_of_a_refusal_and_421_closes_the_connection(sandbox, client):
    rule = {"status": 452, "enhanced": "4.2.2", "body": "mailbox\r\nfull"}
    sandbox.control(ANN, rule)
    client.ehlo()
    client.mail(SENDER)

    assert client.rcpt(ANN) == (452, b"4.2.2 mailbox full")
    assert client.rcpt("unavailable@example.org")[0] == 421
    with pytest.raises(smtplib.SMTPServerDisconnected):
        client.noop()


def test_refusal_affects_neither_other_recipients_nor_the_next_mail(sandbox, client, mail):
    refused = client.send_message(mail, SENDER, ["reject@example.org", ANN])

    assert list(refused) == ["reject@example.org"]
    [record] = sandbox.received()
    assert record["to"] == [ANN]
    sandbox.control(ANN, {"status": 554, "at": "data"})
    assert [send(client, mail, to) for to in (ANN, BOB)] == [554, 250]


def test_hanging_mail_is_recorded_without_a_response(sandbox, client, mail):
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
