import base64
from typing import Any

from connectors.base import Attachment, Rejected
from connectors.sendgrid.requests import build_request
from tests.connectors.sending import outcome


def build(message: Any) -> dict[str, Any]:
    return build_request(message, "Shop <shop@example.com>", sandbox_mode=False)


def test_plain_text_comes_before_html(make_email):
    table: list[tuple[dict[str, Any], list[str]]] = [
        ({}, ["text/plain"]),
        ({"html": "<p>"}, ["text/plain", "text/html"]),
        ({"body": "", "html": "<p>"}, ["text/html"]),
        ({"html": ""}, ["text/plain"]),
    ]
    failures = [
        fields
        for fields, types in table
        if [part["type"] for part in build(make_email(**fields))["content"]] != types
    ]
    assert not failures


def test_attachments_are_encoded_in_base64(make_email):
    content = bytes(range(256)) * 9
    attachment = Attachment("a.bin", "image/png", content=content)

    [file] = build(make_email(attachments=(attachment,)))["attachments"]

    assert base64.b64decode(file.pop("content"), validate=True) == content
    assert file == {"filename": "a.bin", "type": "image/png", "disposition": "attachment"}


def test_header_that_is_not_ascii_is_encoded_on_one_line(make_email):
    value = build(make_email(headers={"X-Note": "Grüße an alle " * 9}))["headers"]["X-Note"]

    assert value.startswith("=?utf-8?")
    assert value.isprintable()


def test_names_are_sent_without_quotes(make_email):
    table = {
        "Ann Lee": "Ann Lee",
        r'"Lee, Ann"': "Lee, Ann",
        r'"Lee; \"Ann\""': 'Lee; "Ann"',
    }
    failures = []
    for name, expected in table.items():
        recipient = f"{name} <ann@example.org>"
        request = build(make_email(recipient=recipient, sender=recipient, reply_to=recipient))
        to = request["personalizations"][0]["to"]
        failures += [
            (name, found)
            for found in (*to, request["from"], request["reply_to"])
            if found != {"email": "ann@example.org", "name": expected}
        ]
    assert not failures


def test_message_that_sendgrid_cannot_send_is_rejected_before_it_is_sent(
    make_sendgrid, make_email, provider
):
    table: list[tuple[dict[str, Any], str]] = [
        ({"payload": {"mime": "Subject: x\r\n\r\ny"}}, "payload_not_supported"),
        ({"recipient": "ann"}, "address_invalid"),
        ({"cc": ("a@example.org, b@example.org",)}, "address_invalid"),
        ({"bcc": ("",)}, "address_invalid"),
        ({"reply_to": "x"}, "address_invalid"),
        ({"sender": "x"}, "address_invalid"),
        ({"headers": {"X-A": "1", "X-SG-EID": "1"}}, "header_not_allowed"),
        ({"headers": {"Content-Type": "text/html"}}, "header_not_allowed"),
        ({"headers": {"Sender": "eve@example.org"}}, "header_not_allowed"),
        ({"headers": {"bCC": "eve@example.org"}}, "header_not_allowed"),
        ({"headers": {"Message-Id": "<1@example.org>"}}, "header_not_allowed"),
        ({"metadata": {"categories": "news"}}, "metadata_invalid"),
        ({"metadata": {"categories": [1]}}, "metadata_invalid"),
        ({"metadata": {"categories": [str(n) for n in range(11)]}}, "metadata_invalid"),
        ({"metadata": {"send_at": "2026-11-22T14:00:00Z"}}, "metadata_invalid"),
        ({"metadata": {"send_at": True}}, "metadata_invalid"),
        ({"attachments": (Attachment("a", "text/plain"),)}, "attachment_without_content"),
    ]
    sendgrid = make_sendgrid()
    failures = []
    for fields, code in table:
        error = outcome(sendgrid, make_email(**fields))
        if not isinstance(error, Rejected) or error.code != code:
            failures.append((fields, error))
    error = outcome(make_sendgrid(sender=None), make_email())
    assert error.code == "sender_missing"
    assert not failures
    assert provider.received == []


def test_invalid_metadata_are_named(make_sendgrid, make_email):
    error = outcome(make_sendgrid(), make_email(metadata={"categories": ["a", 1]}))

    assert error.detail.startswith("metadata.categories.1: ")
