"""Bounces in free text, of many mail systems and mailing lists."""

import json
from pathlib import Path

from connectors.base import Inbound, Receipt
from connectors.toolkit.mail.incoming import read_mail

CORPUS = Path(__file__).parent / "flufl_bounce"
UID = "0190f3c2-7a30-7e52-a0cd-6a3c5d0b2f11"
RETURN_PATH = f"bounces+{UID}@shop.example"
UNRECOGNISED = {"simple_20.txt"}
"""This one comes from a personal address and says what happened in French only."""


def failed(content: bytes) -> list[Receipt]:
    """Return the failures and delays that an e-mail reports."""
    items = read_mail(content, envelope_recipients=[RETURN_PATH])
    receipts = [item for item in items if isinstance(item, Receipt)]
    return [receipt for receipt in receipts if receipt.kind in {"bounced", "deferred"}]


def test_bounces_of_many_mail_systems_name_their_recipients() -> None:
    expected = json.loads((CORPUS / "expected.json").read_text())
    assert {path.name for path in CORPUS.glob("*.txt")} == expected.keys()
    failures = {}
    for name, recipients in expected.items():
        found = failed((CORPUS / name).read_bytes())
        if sorted({str(receipt.recipient) for receipt in found}) != recipients:
            failures[name] = found
        assert {receipt.message_uid for receipt in found} <= {UID}
    assert failures.keys() == UNRECOGNISED


def test_reason_of_each_recipient_is_its_own() -> None:
    rows = [
        ("qmail_03.txt", "5.1.1", True),
        ("yahoo_03.txt", None, True),
        ("yahoo_04.txt", None, "soft_bounce"),
        ("simple_14.txt", None, "soft_bounce"),
        ("simple_27.txt", None, True),
        ("postfix_02.txt", None, "soft_bounce"),
    ]
    failures = []
    for name, code, suppress in rows:
        found = {(one.code, one.suppress) for one in failed((CORPUS / name).read_bytes())}
        if found != {(code, suppress)}:
            failures.append((name, found))
    assert not failures


BOUNCE = """\
Hi. This is the qmail-send program at mx.example.net.

<ann@example.com>:{end}
Sorry, no mailbox here by that name. (#5.1.1)

--- Below this line is a copy of the message.

Message-ID: <{uid}@shop.example>
"""


def mail(body: str, sender: str = "Ann <ann@example.com>", headers: str = "") -> bytes:
    return (
        f"From: {sender}\nTo: {RETURN_PATH}\nMessage-ID: <b@example.com>\n{headers}\n{body}"
    ).encode()


def test_qmail_bounce_is_read_with_a_space_after_the_recipient() -> None:
    for end in ("", " ", "\t"):
        [receipt] = failed(mail(BOUNCE.format(end=end, uid=UID), "MAILER-DAEMON@example.net"))
        assert (receipt.recipient, receipt.code) == ("ann@example.com", "5.1.1")


def test_ordinary_mail_is_never_a_bounce() -> None:
    quoted = BOUNCE.format(end="", uid=UID)
    postfix = (CORPUS / "postfix_01.txt").read_text(errors="replace").partition("\n\n")[2]
    rows = [
        mail("Thanks, it arrived.\n"),
        mail(quoted),
        mail(f"Look what I got:\n\n{quoted}"),
        mail("> " + quoted.replace("\n", "\n> ")),
        mail(postfix),
        mail(postfix, headers="Subject: Fwd: Undelivered Mail Returned to Sender\n"),
        mail(postfix, headers="Subject: Re: Returned mail\nIn-Reply-To: <x@shop.example>\n"),
        mail(postfix, headers="Subject: Returned mail\nIn-Reply-To: <x@shop.example>\n"),
        mail("Your message could not be delivered to\nme@example.com\n\nso send it again.\n"),
        mail("The following addresses had changed: ann@example.com\n", "postmaster@example.com"),
        mail("I am away.\n", headers="Auto-Submitted: auto-replied\nReturn-Path: <>\n"),
    ]
    assert [content for content in rows if failed(content)] == []


def test_mail_from_a_mail_system_is_never_a_human_reply() -> None:
    rows = [
        ("MAILER-DAEMON@example.com", "", True),
        ("Mail Delivery Subsystem <Mailer-Daemon@mx.example.com>", "", True),
        ("Postmaster <postmaster@example.com>", "", True),
        ("ann@example.com", "Return-Path: <MAILER-DAEMON>\n", True),
        ("ann@example.com", "Return-Path: <>\n", True),
        ("ann@example.com", "Return-Path: <ann@example.com>\n", False),
        ("ann@postmaster.example.com", "", False),
    ]
    failures = []
    for sender, headers, is_automatic in rows:
        [message] = read_mail(mail("Something happened.\n", sender, headers))
        assert isinstance(message, Inbound)
        if message.automatic is not is_automatic:
            failures.append((sender, headers))
    assert not failures


def test_hostile_bounce_is_read_in_little_time() -> None:
    """Only the beginning is compared with all known formats, whatever the size."""
    body = "failed addresses follow:\nthe following addresses had\n" + "a@a " * 500_000
    assert failed(mail(body + "\na@a" * 300_000, "MAILER-DAEMON@example.com"))
