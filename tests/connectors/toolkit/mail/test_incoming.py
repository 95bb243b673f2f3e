import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from connectors.base import Inbound
from connectors.toolkit.mail.incoming import read_mail

UID = "0190f3c2-7a30-7e52-a0cd-6a3c5d0b2f11"
HEAD = b"From: Ann <ann@example.com>\nTo: hello@shop.example\nMessage-ID: <1@example.com>\n"
RECORDED = [file.read_bytes() for file in (Path(__file__).parent / "bounces").iterdir()]


def message(content: bytes, **envelope: Any) -> Inbound:
    [item] = read_mail(content, **envelope)
    assert isinstance(item, Inbound)
    return item


def with_headers(*lines: str | bytes) -> bytes:
    rest = [line.encode() if isinstance(line, str) else line for line in lines]
    return HEAD + b"".join(line + b"\n" for line in rest) + b"\nHello\n"


def multipart(*parts: bytes, kind: bytes = b"mixed") -> bytes:
    head = b"Content-Type: multipart/" + kind + b'; boundary="' + kind + b'"\n\n'
    return (
        head
        + b"".join(b"--" + kind + b"\n" + part + b"\n" for part in parts)
        + (b"--" + kind + b"--\n")
    )


def test_message_is_parsed_completely() -> None:
    read = message(
        with_headers(
            "Subject: Re: Your order",
            "Cc: bob@example.com",
            "Date: Sun, 22 Nov 2026 07:00:00 +0100",
            f"In-Reply-To: <{UID}@shop.example>",
            "References: <a@x> <b@x>",
            f"  <{UID}@shop.example>",
            "List-Id: <news.example.com>",
            "X-Mailer: Pigeon 3",
        )
    )
    assert (read.channel, read.sender, read.recipient) == (
        "email",
        "Ann <ann@example.com>",
        "hello@shop.example",
    )
    assert (read.subject, read.body, read.html) == ("Re: Your order", "Hello\n", None)
    assert read.provider_message_id == "<1@example.com>"
    assert read.in_reply_to == (f"<{UID}@shop.example>", "<b@x>", "<a@x>")
    assert read.occurred_at == datetime(2026, 11, 22, 6, tzinfo=UTC)
    assert (read.headers["Cc"], read.headers["List-Id"]) == (
        "bob@example.com",
        "<news.example.com>",
    )
    assert "X-Mailer" not in read.headers
    assert not read.automatic
    assert read.metadata == {}


def test_mail_is_identified_by_message_id_and_recipient_or_by_content() -> None:
    here = message(HEAD + b"\nHello", envelope_recipients=["a@shop.example"]).key
    assert (
        message(b"Received: x\n" + HEAD + b"\nHello", envelope_recipients=["a@shop.example"]).key
        == here
    )
    assert message(HEAD + b"\nHello", envelope_recipients=["b@shop.example"]).key != here
    keys = [message(b"From: ann@example.com\n\n" + text).key for text in (b"a", b"b", b"a")]
    assert keys[0] == keys[2] != keys[1]


def test_sender_and_recipient_are_parsed() -> None:
    rows = [
        ("From: a@x\nTo: b@y, c@z\n", {}, "a@x", "b@y"),
        ("From: a@x\nTo: b@y\n", {"envelope_recipients": ["c@z"]}, "a@x", "c@z"),
        ("From: a@x\nTo: b@y\nX-Original-To: c@z\nDelivered-To: box@z\n", {}, "a@x", "c@z"),
        ("From: a@x\nTo: b@y\nEnvelope-to: c@z\n", {}, "a@x", "c@z"),
        ("From: a@x\nTo: b@y\nDelivered-To: box@z\n", {}, "a@x", "b@y"),
        ("From: a@x\nTo: undisclosed-recipients:;\nDelivered-To: d@z\n", {}, "a@x", "d@z"),
        ('From: "B, A" <a@x>, c@x\nTo: b@y\n', {}, '"B, A" <a@x>', "b@y"),
        ("From: =?utf-8?q?J=C3=B6=2C_A?= <a@x>\nTo: b@y\n", {}, '"Jö, A" <a@x>', "b@y"),
        ("Sender: a@x\nTo: b@y\n", {}, "a@x", "b@y"),
        ("From: nobody\nTo: b@y\n", {"envelope_sender": "<e@x>"}, "e@x", "b@y"),
        ("From: " + "a" * 400 + "@x\nTo: b@y\n", {}, "unknown", "b@y"),
        ("", {}, "unknown", "unknown"),
        ("", {"envelope_sender": ""}, "unknown", "unknown"),
    ]
    failures = []
    for headers, envelope, sender, recipient in rows:
        read = message(headers.encode() + b"\nHi", **envelope)
        if (read.sender, read.recipient) != (sender, recipient):
            failures.append((headers, envelope, read.sender, read.recipient))
    assert not failures


def test_automatic_mail_is_marked() -> None:
    rows = [
        ([], {}, False),
        (["Auto-Submitted: auto-replied"], {}, True),
        (["Auto-Submitted: auto-generated; owner-email=a@x"], {}, True),
        (["Auto-Submitted: no"], {}, False),
        (["Auto-Submitted: No; why=not"], {}, False),
        (["X-Autoreply: yes"], {}, True),
        (["X-Autorespond: Out of office"], {}, True),
        (["Precedence: auto_reply"], {}, True),
        (["Precedence: Bulk"], {}, True),
        (["Precedence: list"], {}, False),
        (["Return-Path: <>"], {}, True),
        (["Return-Path: <ann@example.com>"], {}, False),
        ([], {"envelope_sender": ""}, True),
        ([], {"envelope_sender": "<>"}, True),
        (["Return-Path: <>"], {"envelope_sender": "ann@example.com"}, False),
    ]
    failures = []
    for headers, envelope, automatic in rows:
        if message(with_headers(*headers), **envelope).automatic != automatic:
            failures.append((headers, envelope))
    assert not failures


def test_automatic_reply_to_a_return_path_belongs_to_its_message() -> None:
    read = message(
        with_headers("Auto-Submitted: auto-replied", "Return-Path: <>"),
        envelope_recipients=[f"bounces+{UID.upper()}@shop.example"],
    )
    assert (read.automatic, read.in_reply_to) == (True, (UID,))


def test_text_is_decoded_whatever_its_charset_is_called() -> None:
    rows = [
        ("text/plain; charset=utf-8", "Grüße".encode(), "Grüße"),
        ('text/plain; charset="ISO-8859-1"', "Grüße €".encode("cp1252"), "Grüße €"),
        ("text/plain; charset=koi8-r", "Привет".encode("koi8-r"), "Привет"),
        ("text/plain; charset=gb2312", "镕".encode("gb18030"), "镕"),
        ("text/plain; charset=ks_c_5601-1987", "햏".encode("cp949"), "햏"),
        ("text/plain; charset=iso-2022-jp", "日本".encode("iso-2022-jp"), "日本"),
        ("text/plain; charset=utf-7", b"+APw-", "ü"),
        ("text/plain", "Grüße".encode(), "Grüße"),
        ("text/plain", "Grüße".encode("cp1252"), "Grüße"),
        ("text/plain; charset=us-ascii", "Grüße".encode(), "Grüße"),
        ("text/plain; charset=x-unknown", "Grüße".encode(), "Grüße"),
        ("text/plain; charset=", "Grüße".encode(), "Grüße"),
        ("text/plain; charset=base64", b"Grue", "Grue"),
        ("text/plain; charset=punycode", b"Gre-fka5j", "Gre-fka5j"),
        ("text/plain; charset*=utf-8''iso-8859-1", b"\xfc", "ü"),
        ("text/plain; charset=utf-8", b"a\xffb", "a�b"),
        ("text/plain; charset=utf-8", b"a\0b", "a�b"),
        ("text/plain; charset=utf-8", b"a\rb", "a\nb"),
        ("nonsense", b"a", "a"),
        ("multipart/mixed", b"a", "a"),
        ("multipart/mixed; boundary=never", b"a", "a"),
    ]
    failures = []
    for content_type, content, text in rows:
        head = HEAD + f"Content-Type: {content_type}\n".encode()
        found = message(head + b"Content-Transfer-Encoding: 8bit\n\n" + content).body
        if found != text:
            failures.append((content_type, content, found))
    assert not failures


def test_badly_encoded_text_is_decoded() -> None:
    rows = [
        ("base64", base64.b64encode("Grüße".encode()), "Grüße"),
        ("BASE64", b"R3LD\n\nvMOf!ZQ==", "Grüße"),
        ("base64", b"R3LDvMOfZQ", "Grüße"),
        ("base64", b"R3LDvMOfZQ=", "Grüße"),
        ("base64", b"A", "A"),
        ("quoted-printable", b"Gr=C3=BC=C3=9Fe=\n!", "Grüße!"),
        ("quoted-printable", b"100=% =G", "100=% =G"),
        ("x-none", "Grüße".encode(), "Grüße"),
        ("8bit ", "Grüße".encode(), "Grüße"),
    ]
    failures = []
    for encoding, content, text in rows:
        head = HEAD + f"Content-Transfer-Encoding: {encoding}\n".encode()
        found = message(head + b"Content-Type: text/plain; charset=utf-8\n\n" + content).body
        if found != text:
            failures.append((encoding, content, found))
    assert not failures


def test_subject_is_decoded_in_any_form() -> None:
    rows = [
        ("Subject: Hello", "Hello"),
        ("Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        ("Subject: =?UTF-8?B?R3LDvA==?=\n =?UTF-8?B?w59l?=", "Grüße"),
        ("Subject: =?UTF-8?B?R3LDvMM=?=\n =?UTF-8?B?n2U=?=", "Grüße"),
        ("Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n from Ann", "Grüße from Ann"),
        ("Subject: =?iso-8859-1*de?q?Gr=FC=DFe?=", "Grüße"),
        ("Subject: =?x-unknown?q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        ("Subject: =?utf-8?b?A?=", "=?utf-8?b?A?="),
        ("Subject: Grüße", "Grüße"),
        ("Subject: Grüße".encode("cp1252"), "Grüße"),
        ("Subject: a\0b\tc", "a�b c"),
        ("Subject:", ""),
        ("X: y", None),
    ]
    failures = []
    for line, subject in rows:
        if (found := message(with_headers(line)).subject) != subject:
            failures.append((line, found))
    assert not failures


def test_date_is_parsed_or_none() -> None:
    rows = [
        ("Sun, 22 Nov 2026 07:00:00 +0100", datetime(2026, 11, 22, 6, tzinfo=UTC)),
        ("22 Nov 2026 06:00 GMT", datetime(2026, 11, 22, 6, tzinfo=UTC)),
        ("Sun, 22 Nov 2026 06:00:00 -0000 (UTC)", datetime(2026, 11, 22, 6, tzinfo=UTC)),
        ("Fri, 31 Dec 9999 23:59:59 -1400", None),
        ("Sun, 99 Nov 2026 06:00:00 +0000", None),
        ("yesterday", None),
        ("", None),
    ]
    failures = []
    for date, expected in rows:
        if (found := message(with_headers(f"Date: {date}")).occurred_at) != expected:
            failures.append((date, found))
    assert not failures


TEXT, HTML = b"Content-Type: text/plain\n\nHello", b"Content-Type: text/html\n\n<p>Hello</p>"
IMAGE = (
    b"Content-Type: image/png\nContent-ID: <i@x>\nContent-Disposition: inline\n"
    b"Content-Transfer-Encoding: base64\n\niVBORw0KGgo="
)
PNG = b"\x89PNG\r\n\x1a\n"


def test_parts_become_text_html_and_attachments() -> None:
    rows = [
        (multipart(TEXT, HTML, kind=b"alternative"), "Hello", "<p>Hello</p>", []),
        (
            multipart(
                multipart(TEXT, multipart(HTML, IMAGE, kind=b"related"), kind=b"alternative"),
                b"Content-Disposition: attachment; filename=a.txt\n\nabc",
            ),
            "Hello",
            "<p>Hello</p>",
            [("attachment-1.png", "image/png", PNG), ("a.txt", "text/plain", b"abc")],
        ),
        (
            multipart(TEXT, IMAGE, TEXT),
            "Hello\nHello",
            None,
            [("attachment-1.png", "image/png", PNG)],
        ),
        (HTML, "", "<p>Hello</p>", []),
        (
            multipart(b"Content-Type: message/rfc822\n\nSubject: x\n\ny"),
            "",
            None,
            [("attachment-1.eml", "message/rfc822", b"Subject: x\n\ny")],
        ),
        (b"Content-Type: image/png; name=i.png\n\nx", "", None, [("i.png", "image/png", b"x")]),
        (multipart(kind=b"mixed"), "", None, []),
    ]
    failures = []
    for body, text, html, files in rows:
        read = message(HEAD + body)
        attachments = [(one.name, one.content_type, one.content) for one in read.attachments]
        if (read.body, read.html, attachments) != (text, html, files):
            failures.append((body, read))
    assert not failures


def test_attachment_name_is_safe() -> None:
    rows = [
        ('filename="a b.pdf"', "a b.pdf"),
        ("filename*=utf-8''Z%C3%BCrich.pdf", "Zürich.pdf"),
        ("filename*0*=utf-8''Z%C3%BC;\n filename*1=rich.pdf", "Zürich.pdf"),
        ("filename*=x-unknown''Z%C3%BCrich.pdf", None),
        ("filename*=utf-7''+2AA-.pdf", None),
        ('filename="=?utf-8?q?Z=C3=BCrich.pdf?="', "Zürich.pdf"),
        ('filename="Zürich.pdf"', "Zürich.pdf"),
        ('filename="../../etc/passwd"', "passwd"),
        ('filename="C:\\\\tmp\\\\a.pdf"', "a.pdf"),
        ('filename="a\u202efdp.exe"', "a fdp.exe"),
        ('filename=""', "attachment-1.pdf"),
        ("x=y", "attachment-1.pdf"),
    ]
    failures = []
    for parameters, name in rows:
        part = f"Content-Type: application/pdf\nContent-Disposition: attachment; {parameters}\n\nx"
        read = message(HEAD + multipart(TEXT, part.encode()))
        [file] = read.attachments
        assert (read.body, file.content, read.metadata) == ("Hello", b"x", {})
        if not file.name.isprintable() or name not in {None, file.name}:
            failures.append((parameters, file.name))
    assert not failures


def nested(depth: int, kind: bytes) -> bytes:
    if kind == b"message":
        return b"Content-Type: message/rfc822\n\n" * depth + b"Hello"
    open_ones = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(depth)
    )
    return open_ones + b"\nHello\n" * 1000


def test_unparsable_mail_is_stored_as_an_attachment() -> None:
    contents = {
        "e-mails inside e-mails": HEAD + nested(2000, b"message"),
        "parts inside parts": HEAD + nested(2000, b"multipart"),
        "many lines in many parts": HEAD + nested(100, b"multipart") + b"\n" * 100_001,
        "a huge number": HEAD
        + b"Content-Disposition: attachment; filename*"
        + b"9" * 5000
        + b"=x\n\nHello",
    }
    failures = []
    for name, content in contents.items():
        read = message(content, envelope_sender="a@x", envelope_recipients=["b@y"])
        [file] = read.attachments
        attached = (file.name, file.content_type, file.content)
        if (
            (read.sender, read.recipient, read.body) != ("a@x", "b@y", "")
            or attached != ("message.eml", "message/rfc822", content)
            or "unparsed" not in read.metadata
            or message(content, envelope_recipients=["b@y"]).key != read.key
        ):
            failures.append(name)
    assert not failures


def test_nested_parts_are_parsed() -> None:
    assert message(HEAD + nested(50, b"multipart")).body.startswith("Hello")


def test_very_long_headers_are_bounded() -> None:
    rows = [
        b"To: " + b"(" * 100_000,
        b"To: " + b"a@x, " * 100_000,
        b"References: " + b"<a@x> " * 100_000,
        b"Subject: " + b"=?utf-8?q?a?= " * 100_000,
        b"Message-ID: <" + b"a" * 100_000 + b"@x>",
    ]
    failures = []
    for headers in rows:
        read = message(
            b"From: ann@example.com\n" + headers + b"\n\nHello", envelope_recipients=["b@y"]
        )
        if len(read.recipient) >= 400 or read.provider_message_id is not None:
            failures.append((headers[:40], read.recipient[:400], read.provider_message_id))
    assert not failures


FRAGMENTS = st.sampled_from(
    [
        *b"From To Subject Content-Type Content-Transfer-Encoding Content-Disposition".split(),
        *b"multipart/mixed multipart/report message/delivery-status text/plain base64".split(),
        b"message/feedback-report", b"text/rfc822-headers", b"Original-Rcpt-To", b"Status: 5.1.1",
        b"X-Failed-Recipients: a@x", b"Hi. This is the", b"Action: failed", b"<1@x>",
        b"boundary=b", b"--b", b"--b--", b"; ", b": ", b"=", b'"', b"\n", b"\n\n", b"\r\n", b" ",
        b"charset=", b"filename*0*=utf-8''%", b"=?utf-8?q?=C3?=", b"=?x?b?A?=", b"\xff", b"\0",
    ]
)  # fmt: skip


@given(
    st.one_of(
        st.binary(),
        st.lists(FRAGMENTS | st.binary(max_size=3), max_size=60).map(b"".join),
        st.tuples(st.lists(FRAGMENTS, max_size=9), st.integers(2, 3000)).map(
            lambda drawn: b"".join(drawn[0]) * drawn[1]
        ),
    ),
    st.none() | st.text(max_size=20),
    st.none() | st.text(max_size=20),
)
def test_any_bytes_are_parsed_without_an_exception(
    content: bytes, sender: Any, recipient: Any
) -> None:
    recipients = [recipient] if recipient else []
    items = read_mail(content, envelope_sender=sender, envelope_recipients=recipients)
    assert items
    for item in items:
        assert isinstance(item.key, str)
        str(item).encode("utf-8")


@given(st.sampled_from(RECORDED), st.data())
def test_damaged_report_never_raises(content: bytes, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, len(content)))
    assert read_mail(content[:start] + data.draw(st.binary(max_size=9)) + content[end:])
