import base64
import json
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import ValidationError

from connectors.base import (
    Inbound,
    MalformedWebhook,
    Receipt,
    UnsignedWebhook,
    UnverifiedWebhook,
    WebhookRequest,
)
from connectors.sendgrid.connector import SendGrid, SendGridSettings
from sandbox.callbacks import CallbackRequest
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
Fields = dict[str, bytes | tuple[str, str, bytes]]


def basic(pair: bytes) -> str:
    return "Basic " + base64.b64encode(pair).decode()


def connector_with(**settings: Any) -> SendGrid:
    return SendGrid(SendGridSettings(api_key="SG.key", **settings))


OPEN_TO_ME = {"inbound_username": "grid", "inbound_passwords": ["p:ss"]}
AUTHORIZATION = {"authorization": basic(b"grid:p:ss")}


def call_with(body: bytes, headers: dict[str, str]) -> WebhookRequest:
    url = "https://relay.example.com/api/webhooks/sendgrid/inbound"
    return WebhookRequest("inbound", "POST", url, headers, body, datetime.now(UTC))


def form(fields: Fields) -> WebhookRequest:
    """A call with these fields; a file is its name, its type and its bytes."""
    body = b""
    for name, value in fields.items():
        head = f'--b\r\nContent-Disposition: form-data; name="{name}"'
        content = value
        if isinstance(value, tuple):
            filename, content_type, content = value
            head += f'; filename="{filename}"\r\nContent-Type: {content_type}'
        body += head.encode() + b"\r\n\r\n" + content + b"\r\n"
    headers = {**AUTHORIZATION, "content-type": 'multipart/form-data; boundary="b"'}
    return call_with(body + b"--b--\r\n", headers)


def parsed(**fields: bytes | tuple[str, str, bytes]) -> WebhookRequest:
    """A mail taken apart, with what every one of them has."""
    usual: Fields = {"headers": HEADERS, "envelope": json.dumps(ENVELOPE).encode()}
    return form({**usual, **fields})


def from_simulator(request: CallbackRequest) -> WebhookRequest:
    return call_with(request.body, {name.lower(): v for name, v in request.headers.items()})


def the_mail_of(request: WebhookRequest) -> Inbound:
    received = connector_with(**OPEN_TO_ME).receive(request)
    [mail] = received.items
    assert isinstance(mail, Inbound)
    return mail


def test_a_mail_taken_apart_is_read():
    mail = the_mail_of(
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

    assert (mail.channel, mail.recipient) == ("email", "shop@in.example.com")
    assert "ann@example.org" in mail.sender
    assert mail.subject == "Grüße"
    assert mail.body.strip() == "Hallo é"
    assert (mail.html or "").strip() == "<p>Привет</p>"
    assert "0190f3c2-7a30-7e52-a0cd-6a3c5d0b2f11" in mail.in_reply_to[0]
    findings = {
        "SPF": "pass",
        "dkim": "{@example.org : pass}",
        "sender_ip": "192.0.2.25",
        "spam_score": "0.1",
    }
    assert findings.items() <= mail.metadata.items()


@pytest.mark.parametrize(
    ("charsets", "content", "text"),
    [
        (b'{"text": "utf-8"}', "é".encode(), "é"),
        (b'{"text": "windows-1251"}', "Ж".encode("cp1251"), "Ж"),
        (b'{"text": "shift_jis"}', "日本".encode("shift_jis"), "日本"),
        (b'{"text": "no-such"}', "é".encode(), "é"),
        (b'{"text": "hex"}', "é".encode(), "é"),
        (b'{"text": "us-ascii"}', b"\xff", "�"),
        (b'{"text": "utf-8"}', b"a\xff", "a�"),
        (b'{"text": null}', "é".encode(), "é"),
        (b"{", "é".encode(), "é"),
        (b"[]", "é".encode(), "é"),
    ],
)
def test_a_text_is_read_by_its_charset_however_chaotic(charsets, content, text):
    assert the_mail_of(parsed(text=content, charsets=charsets)).body.strip() == text


def test_a_mail_of_html_alone_has_no_text_of_its_own():
    mail = the_mail_of(parsed(html=b"<p>Hi</p>"))

    assert (mail.html or "").strip() == "<p>Hi</p>"


def test_files_come_with_their_bytes_their_types_and_their_names():
    every_byte = bytes(range(256)) + b"\r\n--\r"
    info = {
        "attachment1": {"filename": "Zürich.png", "name": "z.png", "type": "image/png"},
        "attachment2": {"type": "Text/CSV; charset=utf-8"},
        "attachment3": {"filename": "m.eml", "type": "message/rfc822"},
        "attachment4": {"filename": "a\r\nBcc: x", "type": "no type"},
    }

    mail = the_mail_of(
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

    files = [(file.name, file.content_type, file.content) for file in mail.attachments]
    assert files[0] == ("Zürich.png", "image/png", every_byte)
    assert files[1][:2] == ("t.csv", "text/csv")
    assert files[2] == ("m.eml", "application/octet-stream", b"Subject: x\r\n\r\ny")
    assert files[3][1:] == ("application/octet-stream", b"4")
    assert files[3][0].isprintable()


@pytest.mark.parametrize("field", ["email", "rawEmail"])
def test_a_raw_mail_is_read_as_it_came(field):
    raw = HEADERS.partition(b"MIME-Version")[0].replace(b"\n", b"\r\n") + b"\r\nHi\r\n"

    mail = the_mail_of(form({field: raw, "envelope": json.dumps(ENVELOPE).encode()}))

    assert (mail.subject, mail.body.strip()) == ("Grüße", "Hi")
    assert mail.recipient == "shop@in.example.com"


@pytest.mark.parametrize("raw", [True, False])
def test_a_mail_is_the_same_whichever_way_it_comes(raw):
    mime = EmailMessage()
    mime["From"] = "ann@example.org"
    mime["Message-ID"] = "<1@example.org>"
    mime["Subject"] = "Grüße 🙂 " * 20
    mime.set_content("café\n", charset="iso-8859-1")
    mime.add_alternative("<p>café</p>\n", subtype="html")
    mime.add_attachment(b"\0\r\n\xff", maintype="image", subtype="png", filename="ü.png")

    request = sendgrid_webhooks.inbound_webhook(
        "https://grid:p%3Ass@relay.example.com/", bytes(mime), ENVELOPE, raw=raw
    )
    mail = the_mail_of(from_simulator(request))

    assert mail.subject is not None
    assert mail.subject.strip() == ("Grüße 🙂 " * 20).strip()
    assert (mail.body.strip(), (mail.html or "").strip()) == ("café", "<p>café</p>")
    [file] = mail.attachments
    assert (file.name, file.content_type, file.content) == ("ü.png", "image/png", b"\0\r\n\xff")


def test_a_mail_for_two_is_two_messages_and_a_repeated_one_is_the_same():
    envelope = json.dumps({"from": "ann@example.org", "to": ["a@x.example", "b@x.example"]})
    connector = connector_with(**OPEN_TO_ME)

    first, again = (
        connector.receive(parsed(text=b"Hi", envelope=envelope.encode())).items for _ in range(2)
    )

    assert [getattr(mail, "recipient", "") for mail in first] == ["a@x.example", "b@x.example"]
    assert len({mail.key for mail in first}) == 2
    assert [mail.key for mail in first] == [mail.key for mail in again]


def test_a_mail_without_a_message_id_is_known_by_all_it_holds():
    def key_of(text: bytes) -> str:
        file = ("a.txt", "text/plain", b"a")
        call = parsed(headers=b"From: ann@example.org", text=text, html=b"x", attachment1=file)
        return the_mail_of(call).key

    assert key_of(b"Hi") == key_of(b"Hi") != key_of(b"Ho")


def test_a_bounce_that_comes_raw_becomes_a_receipt():
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

    received = connector_with(**OPEN_TO_ME).receive(
        form({"email": report, "envelope": json.dumps(envelope).encode()})
    )

    [receipt] = received.items
    assert isinstance(receipt, Receipt)
    assert (receipt.kind, receipt.recipient) == ("bounced", "ann@example.org")
    assert receipt.message_uid == "0190f3c2-7a30-7e52-a0cd-6a3c5d0b2f11"


def test_a_kept_mail_is_answered_200():
    assert connector_with(**OPEN_TO_ME).receive(parsed(text=b"Hi")).response.status == 200


@pytest.mark.parametrize(
    "call",
    [
        call_with(b"", AUTHORIZATION),
        call_with(b"{}", {**AUTHORIZATION, "content-type": "application/json"}),
        call_with(b"", {**AUTHORIZATION, "content-type": "multipart/form-data"}),
        call_with(b"--b\r\n", {**AUTHORIZATION, "content-type": "multipart/form-data; boundary=b"}),
        call_with(b"x", {**AUTHORIZATION, "content-type": "multipart/form-data; boundary=b"}),
        form({}),
        form({"envelope": json.dumps(ENVELOPE).encode()}),
        form({"email": HEADERS}),
        parsed(envelope=b"{"),
        parsed(envelope=b"[]"),
        parsed(envelope=b'{"from": "a@example.org", "to": []}'),
        parsed(envelope=b'{"from": "a@example.org", "to": [1]}'),
        parsed(envelope=b'{"to": ["a@example.org"]}'),
        form({str(number): b"" for number in range(1001)}),
    ],
)
def test_what_is_no_mail_is_malformed(call):
    with pytest.raises(MalformedWebhook):
        connector_with(**OPEN_TO_ME).receive(call)


@pytest.mark.parametrize(
    ("authorization", "error"),
    [
        (None, UnsignedWebhook),
        ("", UnsignedWebhook),
        ("Bearer grid:p:ss", UnsignedWebhook),
        ("Basic", UnverifiedWebhook),
        ("Basic é", UnverifiedWebhook),
        ("Basic grid:p:ss", UnverifiedWebhook),
        (basic(b"grid:p:s"), UnverifiedWebhook),
        (basic(b"grid:"), UnverifiedWebhook),
        (basic(b"other:p:ss"), UnverifiedWebhook),
        (basic(b"p:ss"), UnverifiedWebhook),
        (basic(b"grid:p:ss\n"), UnverifiedWebhook),
    ],
)
def test_a_call_without_the_right_credentials_is_not_even_read(authorization, error):
    headers = {} if authorization is None else {"authorization": authorization}

    with pytest.raises(error):
        connector_with(**OPEN_TO_ME).receive(call_with(b"not a form", headers))


def test_either_of_two_passwords_will_do_while_one_replaces_the_other():
    connector = connector_with(inbound_username="grid", inbound_passwords=["new", "p:ss"])
    call = parsed(text=b"Hi")
    renewed = call_with(call.body, {**call.headers, "authorization": basic(b"grid:new")})

    assert connector.receive(call).items
    assert connector.receive(renewed).items


KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC = base64.b64encode(
    KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
).decode()


def signed(request: WebhookRequest) -> WebhookRequest:
    timestamp = str(int(request.received_at.timestamp()))
    signature = KEY.sign(timestamp.encode() + request.body, ec.ECDSA(SHA256()))
    headers = {
        "x-twilio-email-event-webhook-signature": base64.b64encode(signature).decode(),
        "x-twilio-email-event-webhook-timestamp": timestamp,
    }
    return WebhookRequest(
        "inbound",
        "POST",
        request.url,
        {**request.headers, **headers},
        request.body,
        request.received_at,
    )


def without_credentials(request: WebhookRequest) -> WebhookRequest:
    headers = {name: value for name, value in request.headers.items() if name != "authorization"}
    return WebhookRequest(
        "inbound", "POST", request.url, headers, request.body, request.received_at
    )


def test_a_signature_will_do_where_a_key_is_all_that_is_set():
    connector = connector_with(inbound_public_keys=[PUBLIC])
    call = parsed(text=b"Hi")

    assert connector.webhooks == {"inbound"}
    assert connector.receive(signed(without_credentials(call))).items
    with pytest.raises(UnsignedWebhook):
        connector.receive(call)


def test_all_that_is_set_must_fit():
    connector = connector_with(**OPEN_TO_ME, inbound_public_keys=[PUBLIC])
    call = parsed(text=b"Hi")

    assert connector.receive(signed(call)).items
    for half in call, signed(without_credentials(call)):
        with pytest.raises(UnsignedWebhook):
            connector.receive(half)


def test_the_key_of_the_events_opens_no_door_to_mail():
    connector = connector_with(event_public_keys=[PUBLIC])

    assert connector.webhooks == {"status"}
    with pytest.raises(UnsignedWebhook):
        connector.receive(signed(parsed(text=b"Hi")))


@pytest.mark.parametrize(
    "settings",
    [
        {"inbound_username": "grid"},
        {"inbound_passwords": ["s3cret"]},
        {"inbound_username": "grid", "inbound_passwords": []},
        {"inbound_username": "grid", "inbound_passwords": [""]},
        {"inbound_username": "grid", "inbound_passwords": ["s3cret", "b", "c"]},
        {"inbound_username": "", "inbound_passwords": ["s3cret"]},
        {"inbound_username": "a:b", "inbound_passwords": ["s3cret"]},
        {"inbound_public_keys": ["s3cret"]},
    ],
)
def test_half_a_secret_is_refused(settings):
    with pytest.raises(ValidationError, match="inbound_") as raised:
        connector_with(**settings)

    assert "s3cret" not in str(raised.value)
