import json
from dataclasses import replace
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any

import pytest

from connectors.base import (
    Inbound,
    MalformedWebhook,
    Receipt,
    Received,
    UnsignedWebhook,
    WebhookError,
    WebhookRequest,
)
from connectors.sendgrid import inbound
from connectors.sendgrid.connector import SendGrid
from connectors.sendgrid.inbound import MAX_RECIPIENTS
from connectors.sendgrid.settings import SendGridSettings
from connectors.toolkit.mail import incoming
from tests.connectors.receiving import outcome
from tests.connectors.sendgrid.keys import new_key, public_key_of, signature_headers
from tests.doubles import sendgrid_webhooks

ENVELOPE = {"from": "ann@bounces.example.org", "to": ["shop@in.example.com"]}
HEADERS = (
    b"From: Ann <ann@example.org>\n"
    b"To: Shop <shop@example.com>,\n"
    b"\tothers@example.com\n"
    b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n"
    b"Message-ID: <1@example.org>\n"
    b"In-Reply-To: <0190f3c2-7a30-7e52-a0cd-6a3c5d0b2f11@example.com>\n"
    b"MIME-Version: 1.0\n"
    b"Content-Type: multipart/alternative;\n"
    b' boundary="gone"\n'
    b"Content-Transfer-Encoding: 7bit\n"
)
CREDENTIALS = {"inbound_username": "grid", "inbound_passwords": ["p:ss"]}
AUTHORIZATION = {"authorization": "Basic Z3JpZDpwOnNz"}
KEY = new_key()
PUBLIC_KEY = public_key_of(KEY)

Fields = dict[str, bytes | tuple[str, str, bytes]]


def connector_with(**settings: Any) -> SendGrid:
    return SendGrid(SendGridSettings(api_key="SG.key", **settings))


def post(body: bytes, headers: dict[str, str]) -> WebhookRequest:
    url = "https://relay.example.com/api/webhooks/sendgrid/inbound"
    return WebhookRequest("inbound", "POST", url, headers, body, datetime.now(UTC))


def form(fields: Fields) -> WebhookRequest:
    """Return a request with these fields; a file is its name, its type and its bytes."""
    body = b""
    for name, value in fields.items():
        head = f'--b\r\nContent-Disposition: form-data; name="{name}"'
        content = value
        if isinstance(value, tuple):
            filename, content_type, content = value
            head += f'; filename="{filename}"\r\nContent-Type: {content_type}'
        body += head.encode() + b"\r\n\r\n" + content + b"\r\n"
    headers = {**AUTHORIZATION, "content-type": 'multipart/form-data; boundary="b"'}
    return post(body + b"--b--\r\n", headers)


def parsed(**fields: bytes | tuple[str, str, bytes]) -> WebhookRequest:
    """Return a request with an e-mail that SendGrid parsed into these fields."""
    common: Fields = {"headers": HEADERS, "envelope": json.dumps(ENVELOPE).encode()}
    return form({**common, **fields})


def read(request: WebhookRequest) -> Inbound:
    """Return the only inbound message of a request."""
    [email] = connector_with(**CREDENTIALS).receive(request).items
    assert isinstance(email, Inbound)
    return email


def test_parsed_email_is_read():
    email = read(
        parsed(
            text="Hallo é".encode("iso-8859-1"),
            html="<p>Привет</p>".encode("koi8-r"),
            charsets=b'{"text": "iso-8859-1", "html": "koi8-r", "subject": "UTF-8"}',
            SPF=b"pass",
            dkim=b"{@example.org : pass}",
            sender_ip=b"192.0.2.25",
            spam_score=b"0.1",
            unknown=b"x",
        )
    )

    assert (email.channel, email.recipient) == ("email", "shop@in.example.com")
    assert "ann@example.org" in email.sender
    assert email.subject == "Grüße"
    assert email.body.strip() == "Hallo é"
    assert (email.html or "").strip() == "<p>Привет</p>"
    assert "0190f3c2-7a30-7e52-a0cd-6a3c5d0b2f11" in email.in_reply_to[0]
    checks = {
        "SPF": "pass",
        "dkim": "{@example.org : pass}",
        "sender_ip": "192.0.2.25",
        "spam_score": "0.1",
    }
    assert checks.items() <= email.metadata.items()
    assert "unknown" not in email.metadata


def test_email_with_an_empty_headers_field_keeps_its_content() -> None:
    email = read(
        parsed(
            headers=b" \r\n",
            **{"from": "Ann Ö <ann@example.org>".encode(), "to": b"shop@in.example.com"},
            subject="Grüße\r\nX-More: 1".encode(),
            text=b"Hello",
            attachment1=("a.txt", "text/plain", b"file"),
        )
    )
    assert email.body.strip() == "Hello"
    assert [(file.name, file.content) for file in email.attachments] == [("a.txt", b"file")]
    assert "ann@example.org" in email.sender
    assert email.subject == "Grüße X-More: 1"
    assert "X-More" not in email.headers


def test_text_is_decoded_with_its_charset_or_as_utf_8():
    table = [
        (b'{"text": "utf-8"}', "é".encode(), "é"),
        (b'{"text": "windows-1251"}', "Ж".encode("cp1251"), "Ж"),
        (b'{"text": "shift_jis"}', "日本".encode("shift_jis"), "日本"),
        (b'{"text": "no-such"}', "é".encode(), "é"),
        (b'{"text": "hex"}', "é".encode(), "é"),
        (b'{"text": "us-ascii"}', b"\xff", "ÿ"),
        (b'{"text": "utf-8"}', b"a\xff", "a\ufffd"),
        (b'{"text": null}', "é".encode(), "é"),
        (b"{", "é".encode(), "é"),
        (b"[]", "é".encode(), "é"),
    ]
    failures = []
    for charsets, content, text in table:
        body = read(parsed(text=content, charsets=charsets)).body.strip()
        if body != text:
            failures.append((charsets, content, body))
    assert not failures


def test_email_with_html_only_is_read():
    assert (read(parsed(html=b"<p>Hi</p>")).html or "").strip() == "<p>Hi</p>"


def test_attachments_have_their_content_type_and_name():
    every_byte = bytes(range(256)) + b"\r\n--\r"
    info = {
        "attachment1": {"filename": "Zürich.png", "name": "z.png", "type": "image/png"},
        "attachment2": {"type": "Text/CSV; charset=utf-8"},
        "attachment3": {"filename": "m.eml", "type": "message/rfc822"},
        "attachment4": {"filename": "a\r\nBcc: x", "type": "no type"},
    }

    email = read(
        parsed(
            text=b"see",
            attachment1=("x.png", "image/png", every_byte),
            attachment2=("t.csv", "text/csv", b"a,b\r\n"),
            attachment3=("m.eml", "message/rfc822", b"Subject: x\r\n\r\ny"),
            attachment4=("q", "q", b"4"),
            attachments=b"4",
            **{"attachment-info": json.dumps(info).encode()},
        )
    )

    files = [(file.name, file.content_type, file.content) for file in email.attachments]
    assert files[0] == ("Zürich.png", "image/png", every_byte)
    assert files[1][:2] == ("t.csv", "text/csv")
    assert files[2] == ("m.eml", "application/octet-stream", b"Subject: x\r\n\r\ny")
    assert files[3][1:] == ("application/octet-stream", b"4")
    assert files[3][0].isprintable()


def test_raw_email_is_read():
    raw = HEADERS.partition(b"MIME-Version")[0].replace(b"\n", b"\r\n") + b"\r\nHi\r\n"

    for field in ("email", "rawEmail"):
        email = read(form({field: raw, "envelope": json.dumps(ENVELOPE).encode()}))

        assert (email.subject, email.body.strip()) == ("Grüße", "Hi")
        assert email.recipient == "shop@in.example.com"


def test_raw_and_parsed_email_have_the_same_content():
    mime = EmailMessage()
    mime["From"] = "ann@example.org"
    mime["Message-ID"] = "<1@example.org>"
    mime["Subject"] = "Grüße 🙂 " * 20
    mime.set_content("café\n", charset="iso-8859-1")
    mime.add_alternative("<p>café</p>\n", subtype="html")
    mime.add_attachment(b"\0\r\n\xff", maintype="image", subtype="png", filename="ü.png")

    for raw in (True, False):
        simulated = sendgrid_webhooks.inbound_webhook(
            "https://grid:p%3Ass@relay.example.com/", bytes(mime), ENVELOPE, raw=raw
        )
        headers = {name.lower(): value for name, value in simulated.headers.items()}
        email = read(post(simulated.body, headers))

        assert (email.subject or "").strip() == ("Grüße 🙂 " * 20).strip()
        assert (email.body.strip(), (email.html or "").strip()) == ("café", "<p>café</p>")
        [file] = email.attachments
        assert (file.name, file.content_type) == ("ü.png", "image/png")
        assert file.content == b"\0\r\n\xff"


def test_each_envelope_recipient_has_a_message_with_a_stable_key():
    envelope = json.dumps({"from": "ann@example.org", "to": ["a@x.example", "b@x.example"]})
    connector = connector_with(**CREDENTIALS)

    first, again = (
        connector.receive(parsed(text=b"Hi", envelope=envelope.encode())).items for _ in range(2)
    )

    assert [getattr(email, "recipient", "") for email in first] == ["a@x.example", "b@x.example"]
    assert len({email.key for email in first}) == 2
    assert [email.key for email in first] == [email.key for email in again]


def test_email_without_a_message_id_is_identified_by_its_content():
    def key_of(text: bytes) -> str:
        file = ("a.txt", "text/plain", b"a")
        headers = b"From: ann@example.org"
        return read(parsed(headers=headers, text=text, html=b"x", attachment1=file)).key

    assert key_of(b"Hi") == key_of(b"Hi") != key_of(b"Ho")


def test_raw_bounce_becomes_a_receipt():
    report = (
        b"From: MAILER-DAEMON@mx.example.org\r\n"
        b"To: shop@in.example.com\r\n"
        b"Message-ID: <9@mx.example.org>\r\n"
        b"MIME-Version: 1.0\r\n"
        b"Content-Type: multipart/report; report-type=delivery-status; boundary=r\r\n\r\n"
        b"--r\r\n\r\nSorry\r\n"
        b"--r\r\nContent-Type: message/delivery-status\r\n\r\n"
        b"Reporting-MTA: dns; mx.example.org\r\n\r\n"
        b"Final-Recipient: rfc822; ann@example.org\r\n"
        b"Action: failed\r\nStatus: 5.1.1\r\n\r\n"
        b"--r\r\nContent-Type: message/rfc822\r\n\r\n"
        b"Message-ID: <0190f3c2-7a30-7e52-a0cd-6a3c5d0b2f11@example.com>\r\n\r\nHi\r\n"
        b"--r--\r\n"
    )
    envelope = {"from": "", "to": ["shop@in.example.com"]}

    received = connector_with(**CREDENTIALS).receive(
        form({"email": report, "envelope": json.dumps(envelope).encode()})
    )

    [receipt] = received.items
    assert isinstance(receipt, Receipt)
    assert (receipt.kind, receipt.recipient) == ("bounced", "ann@example.org")
    assert receipt.message_uid == "0190f3c2-7a30-7e52-a0cd-6a3c5d0b2f11"


def test_inbound_email_is_answered_with_200():
    assert connector_with(**CREDENTIALS).receive(parsed(text=b"Hi")).response.status == 200


def test_request_that_inbound_parse_does_not_make_is_malformed():
    multipart = {**AUTHORIZATION, "content-type": "multipart/form-data; boundary=b"}
    requests = [
        post(b"", AUTHORIZATION),
        post(b"{}", {**AUTHORIZATION, "content-type": "application/json"}),
        post(b"", {**AUTHORIZATION, "content-type": "multipart/form-data"}),
        post(b"--b\r\n", multipart),
        post(b"x", multipart),
        form({}),
        form({"envelope": json.dumps(ENVELOPE).encode()}),
        form({"email": HEADERS}),
        parsed(envelope=b"{"),
        parsed(envelope=b"[]"),
        parsed(envelope=b'{"from": "a@example.org", "to": []}'),
        parsed(envelope=b'{"from": "a@example.org", "to": [1]}'),
        parsed(envelope=b'{"to": ["a@example.org"]}'),
        form({str(number): b"" for number in range(1001)}),
    ]
    connector = connector_with(**CREDENTIALS)
    accepted = [
        request.body
        for request in requests
        if not isinstance(outcome(connector, request), MalformedWebhook)
    ]
    assert not accepted


# Which checks a request must pass


def signed(request: WebhookRequest) -> WebhookRequest:
    timestamp = str(int(request.received_at.timestamp()))
    signature = signature_headers(KEY, timestamp, request.body)
    return replace(request, headers={**request.headers, **signature})


def without_credentials(request: WebhookRequest) -> WebhookRequest:
    headers = dict(request.headers)
    del headers["authorization"]
    return replace(request, headers=headers)


def test_signature_suffices_if_only_a_key_is_configured():
    connector = connector_with(inbound_public_keys=[PUBLIC_KEY])
    request = parsed(text=b"Hi")

    assert connector.webhooks == {"inbound"}
    assert connector.receive(signed(without_credentials(request))).items
    assert isinstance(outcome(connector, request), UnsignedWebhook)


def test_every_configured_check_must_pass():
    connector = connector_with(**CREDENTIALS, inbound_public_keys=[PUBLIC_KEY])
    request = parsed(text=b"Hi")

    assert connector.receive(signed(request)).items
    assert isinstance(outcome(connector, request), UnsignedWebhook)
    assert isinstance(outcome(connector, signed(without_credentials(request))), UnsignedWebhook)


def test_key_of_the_event_webhook_does_not_verify_inbound_email():
    connector = connector_with(event_public_keys=[PUBLIC_KEY])

    assert connector.webhooks == {"status"}
    assert isinstance(outcome(connector, signed(parsed(text=b"Hi"))), UnsignedWebhook)


def test_mail_for_many_recipients_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed_mails: list[bytes] = []
    parse = incoming.parse_mail
    monkeypatch.setattr(
        incoming, "parse_mail", lambda content: parsed_mails.append(content) or parse(content)
    )
    recipients = [f"shop{number}@in.example.com" for number in range(MAX_RECIPIENTS + 1)]

    def receive(to: list[str]) -> Received | WebhookError:
        envelope = json.dumps({"from": "ann@example.org", "to": to}).encode()
        return outcome(connector_with(**CREDENTIALS), parsed(text=b"Hi", envelope=envelope))

    received = receive(recipients[:-1])
    assert isinstance(received, Received)
    assert [item.recipient for item in received.items] == recipients[:-1]
    assert len({item.key for item in received.items}) == MAX_RECIPIENTS
    assert len(parsed_mails) == 1
    assert isinstance(receive(recipients), MalformedWebhook)
    monkeypatch.setattr(inbound, "MAX_COPIED_BYTES", 100 * len(parsed_mails[0]) - 1)
    assert isinstance(receive(recipients[:-1]), MalformedWebhook)
    assert isinstance(receive(recipients[:-2]), Received)
