from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

from connectors.base import Inbound, Receipt
from connectors.toolkit.mail.incoming import read_mail

BOUNCES = Path(__file__).parent / "bounces"
UID = "0190f3c2-7a30-7e52-a0cd-6a3c5d0b2f11"
ANN = "ann@example.com"


def bounce(name: str) -> bytes:
    return (BOUNCES / f"{name}.eml").read_bytes()


def receipts(content: bytes, **envelope: Any) -> list[Receipt]:
    items = read_mail(content, **envelope)
    assert items
    return [item for item in items if isinstance(item, Receipt)]


def test_report_yields_the_receipt_of_its_message() -> None:
    rows = [
        ("postfix-failed", [("bounced", ANN, "5.1.1", True)]),
        ("postfix-delayed", [("deferred", ANN, "4.4.1", False)]),
        ("postfix-expired", [("bounced", ANN, "4.4.1", "soft_bounce")]),
        ("exim-report", [("bounced", ANN, "5.2.1", True)]),
        (
            "exim-text",
            [("bounced", ANN, "5.1.1", True), ("bounced", "bob@example.com", None, "soft_bounce")],
        ),
        ("office365", [("bounced", "ann@contoso.example", "5.1.10", True)]),
        ("gmail-full", [("bounced", "ann@gmail.example", "5.2.2", "soft_bounce")]),
        (
            "sendmail-several",
            [
                ("bounced", ANN, "5.1.2", True),
                ("sent", "bob@example.com", "2.1.5", False),
                ("delivered", "cy@example.com", "2.0.0", False),
                ("sent", "all@example.com", "2.0.0", False),
                ("unrecognised", None, None, False),
            ],
        ),
        (
            "qmail",
            [
                ("bounced", ANN, "5.1.1", True),
                ("bounced", "bob@example.net", "4.4.3", "soft_bounce"),
            ],
        ),
        ("international", [("bounced", "jürgen@example.com", "5.1.6", True)]),
        ("ses-complaint", [("complained", ANN, "abuse", True)]),
        ("yahoo-complaint", [("complained", None, "abuse", True)]),
    ]
    failures = []
    for (name, expected), end in product(rows, [b"\n", b"\r\n"]):
        found = receipts(bounce(name).replace(b"\n", end))
        reported = [(one.kind, one.recipient, one.code, one.suppress) for one in found]
        ids = {(one.message_uid, one.provider_message_id) for one in found}
        if (reported, ids) != (expected, {(UID, None)}) or not all(
            one.occurred_at for one in found
        ):
            failures.append((name, end, found))
    assert not failures


def test_recorded_reports_are_parsed() -> None:
    assert all(receipts(file.read_bytes()) for file in BOUNCES.iterdir())


def test_repeated_report_has_the_same_keys_one_for_each_recipient() -> None:
    first, again = (receipts(bounce("sendmail-several")) for _ in range(2))
    other = receipts(bounce("sendmail-several"), envelope_recipients=["other@shop.example"])
    assert [one.key for one in first] == [one.key for one in again]
    assert len({one.key for one in [*first, *other]}) == 10


def test_report_keeps_its_fields_and_timestamp() -> None:
    [ann, *_] = receipts(bounce("sendmail-several"))
    assert ann.occurred_at == datetime(2026, 11, 22, 6, 0, 9, tzinfo=UTC)
    assert ann.detail == "SMTP; 550 Host unknown"
    assert ann.payload["Reporting-MTA"] == "dns; relay.example.net"
    assert ann.payload["Final-Recipient"] == "RFC822; ann.smith@inner.example.com"


def test_detail_contains_no_address() -> None:
    [receipt] = receipts(bounce("postfix-failed"))
    assert receipt.detail is not None
    assert ANN not in receipt.detail
    assert "User unknown" in receipt.detail


STATUS = (
    "Content-Type: message/delivery-status\n\n"
    "Reporting-MTA: dns; mx.example.net\n{about}\n"
    "Final-Recipient: rfc822; ann@example.com\n{recipient}"
)


def report(
    about: str = "",
    recipient: str = "Action: failed\nStatus: 5.1.1\n",
    to: str = "hello@shop.example",
    headers: str = "",
    returned: str = "",
) -> bytes:
    status = STATUS.format(about=about, recipient=recipient)
    return (
        f"From: <>\nTo: {to}\nMessage-ID: <r@mx.example.net>\n{headers}"
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n"
        f"--b\n\nIt failed.\n--b\n{status}\n--b\n{returned}\n--b--\n"
    ).encode()


OTHER = "11111111-2222-4333-8444-555555555555"
OURS = f"<{UID}@shop.example>"
RETURNED = "Content-Type: text/rfc822-headers\n\nSubject: x\nMessage-ID: {}\n"


def test_message_is_identified_by_any_of_its_ids() -> None:
    rows = [
        (report(to=f"bounces+{UID}@shop.example"), UID, None),
        (report(to=f"b-{UID.upper()}-x@shop.example"), UID, None),
        (report(headers=f"X-Original-To: bounces+{UID}@shop.example\n"), UID, None),
        (report(headers=f"Delivered-To: bounces+{UID}@shop.example\n"), UID, None),
        (report(about=f"Original-Envelope-Id: {UID}\n"), UID, None),
        (report(about="Original-Envelope-Id: QQ314159\n"), None, None),
        (report(returned=RETURNED.format(OURS)), UID, None),
        (report(returned=RETURNED.replace("text/", "message/").format(OURS)), UID, None),
        (report(returned=f"Content-Type: message/rfc822\n\nMessage-ID: {OURS}\n\nHi"), UID, None),
        (report(returned=RETURNED.format("<own@shop.example>")), None, "<own@shop.example>"),
        (report(headers=f"In-Reply-To: {OURS}\n"), UID, None),
        (report(headers=f"References: <a@x> {OURS}\n"), UID, None),
        # The return path is more reliable than headers that others may have rewritten.
        (
            report(to=f"bounces+{UID}@shop.example", returned=RETURNED.format(f"<{OTHER}@ses>")),
            UID,
            None,
        ),
        (
            report(about=f"Original-Envelope-Id: {UID}\n", headers=f"References: <{OTHER}@x>\n"),
            UID,
            None,
        ),
        # An id that merely contains a uid is not ours: those of Amazon SES do.
        (report(returned=RETURNED.format(f"<01-{UID}-0@ses>")), None, f"<01-{UID}-0@ses>"),
    ]
    failures = []
    for mail, uid, message_id in rows:
        found = [(one.message_uid, one.provider_message_id, one.suppress) for one in receipts(mail)]
        # Without our uid, anyone could have made it up.
        suppress = True if uid else "soft_bounce"
        if found != ([(uid, message_id, suppress)] if uid or message_id else []):
            failures.append((mail, found))
    assert not failures


def test_envelope_id_identifies_the_message() -> None:
    [receipt] = receipts(report(), envelope_recipients=[f"bounces+{UID}@shop.example"])
    assert receipt.message_uid == UID


def test_report_on_an_unknown_message_is_an_ordinary_message() -> None:
    [message] = read_mail(report())
    assert isinstance(message, Inbound)
    assert message.automatic
    assert message.body == "It failed."


def test_forwarded_bounce_is_an_ordinary_message() -> None:
    forwarded = (
        b"From: ann@example.com\nTo: hello@shop.example\nMessage-ID: <f@example.com>\n"
        b"Content-Type: multipart/mixed; boundary=f\n\n--f\n\nLook at this\n"
        b"--f\nContent-Type: message/rfc822\n\n" + bounce("postfix-failed") + b"\n--f--\n"
    )
    [message] = read_mail(forwarded)
    assert isinstance(message, Inbound)
    assert (message.body, message.automatic) == ("Look at this", False)
    [file] = message.attachments
    assert file.content_type == "message/rfc822"
    assert b"Status: 5.1.1" in (file.content or b"")


def failing(code: str, diagnostic: str = "") -> str:
    return f"Action: failed\nStatus: {code}\nDiagnostic-Code: smtp; {diagnostic}\n"


def test_action_and_status_decide_the_receipt() -> None:
    rows = [
        (failing("5.1.1"), "bounced", "5.1.1", True),
        (failing("5.1.2"), "bounced", "5.1.2", True),
        (failing("5.1.10"), "bounced", "5.1.10", True),
        (failing("5.2.1"), "bounced", "5.2.1", True),
        (failing("5.1.8"), "bounced", "5.1.8", False),
        (failing("5.2.2"), "bounced", "5.2.2", "soft_bounce"),
        (failing("5.7.1"), "bounced", "5.7.1", False),
        (failing("4.4.7"), "bounced", "4.4.7", "soft_bounce"),
        (failing("5.0.0", "550 5.1.1 No such user"), "bounced", "5.1.1", True),
        (failing("5.0.0", "550 No such user"), "bounced", "5.0.0", True),
        (failing("5.0.0", "451 4.1.1 later"), "bounced", "5.0.0", "soft_bounce"),
        (failing("5.7.1", "550 5.1.1 No such user"), "bounced", "5.7.1", "soft_bounce"),
        (failing("5.1.1", "550 5.7.1 IP address blacklisted"), "bounced", "5.7.1", False),
        (failing("5.1.1", "552 5.2.2 Over quota"), "bounced", "5.2.2", "soft_bounce"),
        (failing("5.1.1 5.7.1 "), "bounced", "5.1.1", False),
        (failing("", "550 5.1.1 No such user"), "bounced", "5.1.1", True),
        (failing("", "host 5.1.1.25 said: 550 no"), "bounced", None, "soft_bounce"),
        (failing("5.1.1 (bad mailbox)"), "bounced", "5.1.1", True),
        ("Action: FAILED (unknown user)\nStatus: 5.1.1\n", "bounced", "5.1.1", True),
        ("Action: failure\nStatus: 5.1.1\n", "bounced", "5.1.1", True),
        ("Action: error\nStatus: 5.1.1\n", "bounced", "5.1.1", True),
        ("Action: delayed\nStatus: 5.1.1\n", "deferred", "5.1.1", False),
        ("Action: Delivered\nStatus: 2.0.0\n", "delivered", "2.0.0", False),
        ("Status: 5.1.1\n", "bounced", "5.1.1", True),
        ("Status: 4.2.0\n", "deferred", "4.2.0", False),
        ("Status: 2.0.0\n", "delivered", "2.0.0", False),
        ("Action: teleported\n", "unrecognised", None, False),
    ]
    failures = []
    for recipient, kind, code, suppress in rows:
        [receipt] = receipts(report(recipient=recipient, returned=RETURNED.format(OURS)))
        found = (receipt.kind, receipt.code, receipt.suppress)
        if found != (kind, code, suppress):
            failures.append((recipient, found))
    assert not failures


def test_unrecognised_action_is_kept_as_the_detail() -> None:
    for diagnostic, detail in (("", "action teleported"), ("why", "action teleported: smtp; why")):
        recipient = "Action: teleported\n"
        if diagnostic:
            recipient += f"Diagnostic-Code: smtp; {diagnostic}\n"
        [receipt] = receipts(report(recipient=recipient, returned=RETURNED.format(OURS)))
        assert receipt.detail == detail


def test_feedback_type_decides_the_receipt() -> None:
    mail = report(returned=RETURNED.format(OURS)).decode()
    head, _, rest = mail.partition("Content-Type: message/delivery-status")
    returned = rest[rest.index("--b\n") :]
    rows = [
        ("Feedback-Type: fraud\n", "complained", True),
        ("Feedback-Type: virus\n", "complained", True),
        ("Feedback-Type: Abuse\n", "complained", True),
        ("Feedback-Type: opt-out\n", "unsubscribed", "opt_out"),
        ("Feedback-Type: not-spam\n", "unrecognised", False),
        ("Feedback-Type: auth-failure\n", "unrecognised", False),
        ("Feedback-Type: other\n", "unrecognised", False),
        ("Version: 1\n", "unrecognised", False),
        ("", "unrecognised", False),
    ]
    failures = []
    for fields, kind, suppress in rows:
        feedback = f"{head}Content-Type: message/feedback-report\n\n{fields}\n{returned}"
        [receipt] = receipts(feedback.encode())
        found = (receipt.kind, receipt.suppress, receipt.recipient)
        if found != (kind, suppress, None):
            failures.append((fields, found))
    assert not failures


def test_badly_formatted_reports_are_read() -> None:
    """Each row: the fields about the recipient, and the recipients and codes that they name."""
    diagnostic = "Diagnostic-Code: smtp; 550-5.1.1 No such user.\n\nSee our help pages.\n\n"
    bob = "Final-Recipient: rfc822; bob@example.com\n"
    rows = [
        # A multi-line diagnostic with blank lines, which end a block:
        (f"{diagnostic}Action: failed\nStatus: 5.1.1\n", [(ANN, "5.1.1")]),
        (f"Action: failed\n{diagnostic}Status: 5.1.1\n", [(ANN, "5.1.1")]),
        (
            f"Action: failed\n{diagnostic}{bob}Action: failed\nStatus: 5.2.2\n",
            [(ANN, "5.1.1"), ("bob@example.com", "5.2.2")],
        ),
        # The obsolete syntax of headers:
        ("Action : failed\nStatus\t: 5.1.1\n", [(ANN, "5.1.1")]),
        # A diagnostic whose lines are not indented:
        ("Diagnostic-Code: smtp; 550\n5.1.1 No such user\nAction: failed\n", [(ANN, "5.1.1")]),
    ]
    failures = []
    for fields, expected in rows:
        found = receipts(report(recipient=fields, to=f"bounces+{UID}@shop.example"))
        if [(one.recipient, one.code) for one in found] != expected or any(
            one.kind != "bounced" for one in found
        ):
            failures.append((fields, found))
    assert not failures


def test_all_parts_of_a_report_are_read() -> None:
    second = "Content-Type: message/delivery-status\n\nReporting-MTA: dns; b\n\n"
    fields = "Action: failed\nFinal-Recipient: rfc822; {}\nStatus: 5.1.1\n\n"
    both = second + fields.format("bob@example.com") + fields.format(ANN)
    found = receipts(report(to=f"bounces+{UID}@shop.example", returned=both))
    assert [one.recipient for one in found] == [ANN, "bob@example.com"]


def test_text_is_read_if_the_report_names_no_recipient() -> None:
    mail = report(to=f"bounces+{UID}@shop.example").decode()
    mail = mail.replace("Final-Recipient: rfc822; ann@example.com\nAction: failed\n", "")
    text = "This is the mail system at host mx.example.net.\n\n"
    text += "<bob@example.com>: host mx.example.com said: 550 5.1.1 User unknown\n"
    mail = mail.replace("From: <>", "From: MAILER-DAEMON@example.net\nSubject: Undelivered")
    mail = mail.replace("It failed.\n", f"\n                        The Postfix program\n\n{text}")
    [receipt] = receipts(mail.encode())
    assert (receipt.kind, receipt.recipient, receipt.code, receipt.suppress) == (
        "bounced",
        "bob@example.com",
        "5.1.1",
        True,
    )


def test_obsolete_headers_are_headers() -> None:
    mail = bounce("postfix-failed")
    for name in (b"From", b"To", b"Subject", b"Content-Type", b"MIME-Version"):
        mail = mail.replace(b"\n%s:" % name, b"\n%s  :" % name)
    [receipt] = receipts(mail)
    assert (receipt.message_uid, receipt.recipient, receipt.code) == (UID, ANN, "5.1.1")
    [message] = read_mail(b"From : ann@example.com\nTo\t: b@shop.example\n\nNote : hello\n")
    assert isinstance(message, Inbound)
    assert (message.sender, message.body) == (ANN, "Note : hello\n")


def test_report_says_who_can_have_made_it() -> None:
    """Each row: who sent it to which address, with which returned Message-ID."""
    verp, hello = f"bounces+{UID}@shop.example", "hello@shop.example"
    rows = [
        ("mallory@evil.example", verp, OURS, "addressed"),
        ("mallory@evil.example", hello, OURS, "unverified"),
        ("mallory@evil.example", hello, "<own@shop.example>", "unverified"),
        ("MAILER-DAEMON@example.com", hello, OURS, "verified"),
        ("MAILER-DAEMON@mx.example.com", verp, OURS, "verified"),
        ("MAILER-DAEMON@com", hello, OURS, "unverified"),
        ("MAILER-DAEMON@notexample.com", hello, OURS, "unverified"),
        # Without our uid, not even the recipient's own server knows which message it was.
        ("MAILER-DAEMON@example.com", hello, "<own@shop.example>", "unverified"),
    ]
    failures = []
    for sender, to, message_id, origin in rows:
        mail = report(to=to, returned=RETURNED.format(message_id)).replace(
            b"From: <>", f"From: {sender}".encode()
        )
        found = [one.origin for one in receipts(mail)]
        if found != [origin]:
            failures.append((sender, to, message_id, found))
    assert not failures


def test_address_of_another_type_suppresses_no_address() -> None:
    mail = bounce("postfix-failed").replace(b"rfc822;ann@example.com", b"x400;/C=DE/A=x")
    mail = mail.replace(b"rfc822; ann@example.com", b"system;ann")
    mail = mail.replace(b"<ann@example.com>", b"ann")
    [receipt] = receipts(mail)
    assert (receipt.kind, receipt.recipient, receipt.suppress) == ("bounced", None, False)


def test_report_with_very_many_fields_is_bounded() -> None:
    fields = "".join(f"X-{number}: x\n" for number in range(900))
    many = "".join(
        f"Final-Recipient: rfc822; {number}@x\nAction: failed\n\n" for number in range(1500)
    )
    mail = report(about=fields, recipient=f"\n{many}", returned=RETURNED.format(OURS))
    receipt = receipts(mail)
    assert len(receipt) == 1000
    assert len(receipt[0].payload) < 100


def test_complaint_about_two_recipients_is_two_receipts() -> None:
    two = b"Original-Rcpt-To: <ann@example.com>\nOriginal-Rcpt-To: bob@example.com\n"
    mail = bounce("ses-complaint").replace(b"Original-Rcpt-To: <ann@example.com>\n", two)
    assert [one.recipient for one in receipts(mail)] == [ANN, "bob@example.com"]
