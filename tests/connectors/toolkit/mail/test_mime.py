import datetime as dt
import email
import email.policy
import re
from email.header import decode_header, make_header
from email.message import EmailMessage
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base import Attachment, OutboundMessage, Rejected
from connectors.toolkit.mail.mime import Mail, compose, encode_7bit

CREATED = dt.datetime(2026, 2, 3, 4, 5, 6, tzinfo=dt.UTC)


def mail_of(sender: str | None = "shop@example.org", **fields: Any) -> Mail:
    defaults = {
        "id": 1,
        "uid": "018f-1",
        "channel": "email",
        "recipient": "ann@example.com",
        "created_at": CREATED,
    }
    return compose(OutboundMessage(**{**defaults, **fields}), sender, None)


def parsed(mail: Mail) -> EmailMessage:
    found = email.message_from_bytes(mail.content, policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    return found


def header_names(mail: Mail) -> list[str]:
    head = mail.content.partition(b"\r\n\r\n")[0].decode()
    return [line.partition(":")[0] for line in head.split("\r\n") if not line.startswith(" ")]


def test_headers_are_complete() -> None:
    mail = mail_of(
        sender="Shop <shop@example.org>",
        cc=("Bob <bob@example.com>", "cy@example.com"),
        bcc=("dan@example.com",),
        reply_to="help@example.org",
        subject="Your order",
        headers={"X-Campaign": "spring", "In-Reply-To": "<1@example.com>"},
        body="Hello",
    )
    assert mail.content.decode() == (
        "From: Shop <shop@example.org>\r\n"
        "To: ann@example.com\r\n"
        "Cc: Bob <bob@example.com>, cy@example.com\r\n"
        "Reply-To: help@example.org\r\n"
        "Subject: Your order\r\n"
        "Date: Tue, 03 Feb 2026 04:05:06 +0000\r\n"
        "Message-ID: <018f-1@example.org>\r\n"
        "X-Campaign: spring\r\n"
        "In-Reply-To: <1@example.com>\r\n"
        'Content-Type: text/plain; charset="utf-8"\r\n'
        "Content-Transfer-Encoding: 7bit\r\n"
        "MIME-Version: 1.0\r\n"
        "\r\n"
        "Hello\r\n"
    )
    assert list(mail.recipients) == [
        "ann@example.com", "bob@example.com", "cy@example.com", "dan@example.com"
    ]  # fmt: skip


def test_sender_is_that_of_the_message_or_of_the_agent() -> None:
    own = mail_of(sender="Shop <shop@example.org>", subject="x")
    assert (own.sender, own.message_id) == ("shop@example.org", "<018f-1@example.org>")
    message = OutboundMessage(
        id=1, uid="u", channel="email", recipient="a@b.example", sender="Jo <jo@example.net>"
    )
    mail = compose(message, "shop@example.org", "bounces@example.org")
    assert (mail.sender, mail.message_id) == ("bounces@example.org", "<u@example.net>")
    assert parsed(mail)["From"] == "Jo <jo@example.net>"
    with pytest.raises(Rejected, match=r"5\.1\.7"):
        mail_of(sender=None)


def test_text_html_and_attachments_are_structured() -> None:
    rows = [
        ("Hi", None, ["text/plain"]),
        ("", "<b>Hi</b>", ["text/html"]),
        ("Hi", "<b>Hi</b>", ["multipart/alternative", "text/plain", "text/html"]),
        ("", None, ["text/plain"]),
    ]
    failures = []
    for (body, html, structure), attached in product(rows, [0, 2]):
        files = tuple(
            Attachment(f"{n}.pdf", "application/pdf", b"%PDF\r\n\0") for n in range(attached)
        )
        mail = parsed(mail_of(body=body, html=html, attachments=files))
        types = ["multipart/mixed", *structure, *["application/pdf"] * attached]
        plain = mail.get_body(("plain",))
        found = (
            [part.get_content_type() for part in mail.walk()],
            [part.get_content() for part in mail.iter_attachments()],
            plain.get_content() if body and plain else None,
        )
        if found != (types[not attached :], [b"%PDF\r\n\0"] * attached, "Hi\r\n" if body else None):
            failures.append((body, html, attached, found))
    assert not failures


def test_attachment_name_contains_no_path() -> None:
    rows = [
        ("report.pdf", "report.pdf"),
        ('a b; c="d".pdf', 'a b; c="d".pdf'),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\ann\\x.txt", "x.txt"),
        ("Отчёт за год.pdf", "Отчёт за год.pdf"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("a\r\nBcc: evil@example.net", "aBcc: evil@example.net"),
        (".", "attachment"),
        ("", "attachment"),
        ("dir/", "attachment"),
        ("x" * 300 + ".pdf", "x" * 146 + ".pdf"),
        ("я" * 300 + ".pdf", "я" * 146 + ".pdf"),
    ]
    failures = []
    for name, shown in rows:
        mail = mail_of(attachments=(Attachment(name, "application/pdf", b"x"),))
        found = [part.get_filename() for part in parsed(mail).iter_attachments()]
        if found != [shown] or not mail.content.isascii():
            failures.append((name, found))
    assert not failures


def test_attachment_has_a_valid_media_type() -> None:
    rows = [
        ("image/png", "image/png"),
        ('text/csv; charset="utf-16"; header=present', "text/csv"),
        ("message/rfc822", "application/octet-stream"),
        ("multipart/mixed; boundary=x", "application/octet-stream"),
        ("nonsense", "application/octet-stream"),
        ("text/plain\r\nBcc: evil@example.net", "application/octet-stream"),
        ("", "application/octet-stream"),
    ]
    failures = []
    for content_type, shown in rows:
        mail = mail_of(attachments=(Attachment("x", content_type, b"x"),))
        [part] = parsed(mail).iter_attachments()
        found = (
            part.get_content_type(),
            part["Content-Transfer-Encoding"],
            part.get_param("charset"),
        )
        if found != (shown, "base64", "utf-16" if "utf-16" in content_type else None):
            failures.append((content_type, found))
    assert not failures


def test_attachment_without_content_is_rejected() -> None:
    with pytest.raises(Rejected):
        mail_of(attachments=(Attachment("x", "image/png", url="https://example.com/x"),))


EVIL = "x\r\nBcc: evil@example.net"
HIDDEN = "=?utf-8?q?x=0D=0ABcc:_evil=40example.net?="


def test_no_value_can_start_another_header() -> None:
    rows = [
        *({"subject": text} for text in (EVIL, "x\nBcc: y", "x\rBcc: y", "x\0y", HIDDEN)),
        *({"headers": {"X-A": text}} for text in (EVIL, "x\n y", "x\0y", HIDDEN, HIDDEN * 9)),
        {"sender": f"{HIDDEN} <a@example.org>"},
        {"sender": "x\r\nBcc: evil <a@example.org>"},
        {"reply_to": "a@example.org\r\nBcc: evil@example.net"},
        {"uid": "x>\r\nBcc: evil@example.net"},
    ]
    failures = []
    for fields in rows:
        try:
            failures.append((fields, mail_of(**{"body": "Hi", **fields}).content))
        except Rejected:
            continue
    assert not failures


def test_encoded_word_in_quotes_is_plain_text() -> None:
    mail = mail_of(cc=(f'"{HIDDEN}" <a@example.org>',), body="Hi")
    assert header_names(mail)[:5] == ["From", "To", "Cc", "Date", "Message-ID"]


def test_reserved_headers_are_rejected() -> None:
    rows = [
        "From",
        "to",
        "CC",
        "Bcc",
        "Date",
        "Message-Id",
        "MIME-Version",
        "Subject",
        "Reply-To",
        "Sender",
        "Received",
        "Return-Path",
        "DKIM-Signature",
        "Resent-Bcc",
        "Content-Type",
        "content-transfer-encoding",
        "X A",
        "X:",
        "",
        "X\r\nBcc",
        "Ü",
    ]
    failures = []
    for name in rows:
        try:
            failures.append((name, mail_of(headers={name: "evil@example.net"}).content))
        except Rejected:
            continue
    assert not failures


def test_no_header_is_written_twice() -> None:
    with pytest.raises(Rejected):
        mail_of(subject="one", headers={"Subject": "two"})


def test_long_word_stays_readable() -> None:
    link = "<https://example.org/unsubscribe?token=" + "x" * 200 + ">"
    ids = " ".join(f"<{'a' * 60}{n}@example.com>" for n in range(3))
    mail = mail_of(headers={"List-Unsubscribe": link, "References": ids}, subject="word " * 60)
    assert f"List-Unsubscribe: {link}\r\n".encode() in mail.content
    assert f"References: {ids}".replace(" <", "\r\n <")[len("References:\r\n ") :].encode() in (
        mail.content
    )
    head = mail.content.partition(b"\r\n\r\n")[0]
    assert all(len(line) <= 78 for line in head.split(b"\r\n") if b" word" in line)
    with pytest.raises(Rejected):
        mail_of(headers={"X-A": "x" * 1000})


@given(
    st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=90),
    st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" "), max_size=90),
)
def test_any_subject_and_name_survive_encoding(word: str, rest: str) -> None:
    # Text that already looks encoded is decoded by the recipient (RFC 2047).
    subject = f"{word} {' '.join(rest.split())}".strip().replace("=?", "")
    name = re.sub(r"([\\\"])", r"\\\1", subject)
    mail = mail_of(sender=f'"{name}" <shop@example.org>', subject=subject)
    assert mail.content.isascii()
    assert mail.sender == "shop@example.org"
    assert parsed(mail)["Subject"] == subject
    [author] = parsed(mail)["From"].addresses
    assert author.addr_spec == "shop@example.org"
    assert header_names(mail)[:5] == ["From", "To", "Subject", "Date", "Message-ID"]


def test_folding_loses_no_space() -> None:
    text = "þõJ पन्ह पन्ह त्र र्च कृकृ ड्ड न्हृे إلا بسم الله"
    mail = mail_of(sender=f"{text} <shop@example.org>", subject=text)
    assert parsed(mail)["Subject"] == text
    # The standard library's parser adds spaces within an encoded display name.
    [name] = re.findall(r"^From: (.*?) <", mail.content.decode(), re.DOTALL | re.MULTILINE)
    assert str(make_header(decode_header(name))) == text


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_becomes_valid_7_bit_lines(text: str) -> None:
    mail = mail_of(body=text, html=text)
    assert mail.content.isascii()
    assert max(map(len, mail.content.split(b"\r\n"))) <= 998
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", mail.content)


# --- raw MIME


def raw(text: str, **fields: Any) -> Mail:
    return mail_of(payload={"mime": text}, **fields)


def test_raw_mail_is_sent_unchanged() -> None:
    text = (
        "Subject:  odd   spacing\n"
        "From: =?UTF-8?B?0JzQsNCz?=\r\n\t<shop@example.org>\r"
        "Message-ID: <own@example.org>\n"
        "Date: Tue, 03 Feb 2026 04:05:06 +0300\n\n"
        "Bcc: this is text\n"
    )
    mail = raw(text)
    assert mail.content == (
        b"Subject:  odd   spacing\r\n"
        b"From: =?UTF-8?B?0JzQsNCz?=\r\n\t<shop@example.org>\r\n"
        b"Message-ID: <own@example.org>\r\n"
        b"Date: Tue, 03 Feb 2026 04:05:06 +0300\r\n\r\n"
        b"Bcc: this is text\r\n"
    )
    assert mail.message_id == "<own@example.org>"
    assert (mail.sender, list(mail.recipients)) == ("shop@example.org", ["ann@example.com"])


def test_raw_mail_gets_missing_headers_and_loses_bcc() -> None:
    mail = raw(
        "\nFrom: a@example.org\nbcc: x@example.com,\n y@example.com\nTo: b@example.com\n\nHi"
    )
    assert mail.content == (
        b"From: a@example.org\r\n"
        b"To: b@example.com\r\n"
        b"Message-ID: <018f-1@example.org>\r\n"
        b"Date: Tue, 03 Feb 2026 04:05:06 +0000\r\n\r\n"
        b"Hi"
    )
    assert mail.message_id == "<018f-1@example.org>"


def test_invalid_raw_mail_is_rejected() -> None:
    rows = [
        {"mime": "no headers\n\nHi"},
        {"mime": "From: a@example.org\n"},
        {"mime": ""},
        {"mime": "From a@example.org\nSubject: mbox\n\nHi"},
        {"mime": "From: a@example.org\n\nH\0i"},
        {"mime": "From: a@example.org\n\n\ud800"},
        {"mime": b"From: a@example.org\n\nHi"},
        {"mime": "From: a@example.org\n\nHi", "html": "x"},
        {"template": 1},
        [],
        "From: a@example.org\n\nHi",
    ]
    failures = []
    for payload in rows:
        try:
            failures.append((payload, mail_of(payload=payload).content))
        except Rejected:
            continue
    assert not failures


def test_raw_mail_excludes_attachments() -> None:
    with pytest.raises(Rejected):
        raw("From: a@example.org\n\nHi", attachments=(Attachment("x", "image/png", b"x"),))


def test_raw_utf8_header_needs_smtputf8() -> None:
    assert raw("From: a@example.org\nSubject: Grüße\n\nHi").smtputf8
    assert not raw("From: a@example.org\nSubject: x\n\nGrüße").smtputf8


def test_8_bit_parts_are_converted_and_everything_else_is_unchanged() -> None:
    text = (
        "From: a@example.org\r\n"
        "List-Unsubscribe: <https://example.org/" + "x" * 200 + ">\r\n"
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
        "--b\r\nContent-Type: text/plain; charset=utf-8\r\n"
        "Content-Transfer-Encoding: 8bit\r\n\r\nGrüße\r\n"
        "--b\r\nContent-Type: text/plain\r\n\r\n.plain\r\n--b--\r\n"
    )
    converted = encode_7bit(text.encode())
    assert converted.isascii()
    head = text.partition("\r\n\r\n")[0].encode()
    assert converted.startswith(head)
    first, second = email.message_from_bytes(converted, policy=email.policy.default).iter_parts()
    assert (first.get_content(), second.get_content()) == ("Grüße", ".plain")
