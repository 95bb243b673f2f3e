from datetime import UTC, datetime

import pytest

from connectors.base import Attachment, Inbound, MalformedWebhook, Receipt
from connectors.toolkit.generic_messages import parse_object, read_message, read_report

SMS = {
    "from": "+18045551234",
    "to": "+12016661234",
    "type": "sms",
    "messaging_provider_id": "message-1",
    "body": "text message",
    "attachments": None,
    "timestamp": "2024-11-01T14:00:00Z",
}
EMAIL = {
    "from": "[user@usehatchapp.com](mailto:user@usehatchapp.com)",
    "to": "[contact@gmail.com](mailto:contact@gmail.com?subject=Hi)",
    "xillio_id": "message-3",
    "body": "<html><body>html is <b>allowed</b> here</body></html>",
    "attachments": ["https://files.example.com/a/report%20one.pdf?v=1"],
    "timestamp": "2024-11-01T16:00:00+02:00",
}
AT = datetime(2024, 11, 1, 14, 0, tzinfo=UTC)
UID = "0190f3c2-0000-7000-8000-000000000001"


def test_sms_is_parsed():
    assert read_message(SMS, "key") == Inbound(
        key="sms:message-1",
        channel="sms",
        sender="+18045551234",
        recipient="+12016661234",
        body="text message",
        provider_message_id="message-1",
        occurred_at=AT,
    )


def test_mms_is_parsed():
    files = [
        "https://files.example.com/",
        {"url": "http://files.example.com/x", "filename": "cat.png"},
        {"content": "aGk=", "filename": "../../etc/hi.txt", "content_type": "text/x-hi"},
    ]

    message = read_message({**SMS, "type": "mms", "attachments": files}, "key")

    assert (message.channel, message.key) == ("mms", "mms:message-1")
    assert message.attachments == (
        Attachment("attachment-1", "application/octet-stream", url="https://files.example.com/"),
        Attachment("cat.png", "image/png", url="http://files.example.com/x"),
        Attachment("hi.txt", "text/x-hi", content=b"hi"),
    )


def test_email_addresses_are_cleaned():
    assert read_message(EMAIL, "key") == Inbound(
        key="email:message-3",
        channel="email",
        sender="user@usehatchapp.com",
        recipient="contact@gmail.com",
        body=EMAIL["body"],
        html=EMAIL["body"],
        provider_message_id="message-3",
        attachments=(
            Attachment(
                "report one.pdf",
                "application/pdf",
                url="https://files.example.com/a/report%20one.pdf?v=1",
            ),
        ),
        occurred_at=AT,
    )


def test_fields_are_mapped() -> None:
    rows = [
        ({"type": None}, {"channel": "sms"}),
        ({"type": "pigeon"}, {"channel": "sms"}),
        ({"type": None, "attachments": ["http://a/b"]}, {"channel": "mms"}),
        ({"type": "push"}, {"channel": "push"}),
        ({"type": None, "from": "a@example.com"}, {"channel": "email"}),
        ({"type": "email", "body": "a < b and c > d"}, {"html": None}),
        ({"type": "email", "body": "<p>a", "html": "<p>b"}, {"body": "<p>a", "html": "<p>b"}),
        ({"body": "<b>"}, {"body": "<b>", "html": None}),
        ({"body": None}, {"body": ""}),
        ({"subject": "Hi"}, {"subject": "Hi"}),
        ({"from": "Ann <[a@b.test](mailto:a@b.test)>"}, {"sender": "Ann <a@b.test>"}),
        ({"messaging_provider_id": None}, {"key": "key", "provider_message_id": None}),
        ({"messaging_provider_id": 7}, {"key": "sms:7", "provider_message_id": "7"}),
        (
            {"carrier": "x", "nested": {"a": [1]}},
            {"metadata": {"carrier": "x", "nested": {"a": [1]}}},
        ),
        ({"timestamp": 1730469600}, {"occurred_at": AT}),
        ({"timestamp": "2024-11-01T14:00:00"}, {"occurred_at": AT}),
        ({"timestamp": "yesterday"}, {"occurred_at": None}),
        ({"timestamp": 1e300}, {"occurred_at": None}),
        ({"timestamp": []}, {"occurred_at": None}),
        ({"timestamp": "9999-12-31T23:59:59-23:00"}, {"occurred_at": None}),
    ]
    failures = []
    for changes, expected in rows:
        message = read_message({**SMS, **changes}, "key")
        found = {name: getattr(message, name) for name in expected}
        if found != expected:
            failures.append((changes, found))
    assert not failures


def test_invalid_message_is_malformed() -> None:
    rows = [
        ({"from": None}, "from:"),
        ({"from": " "}, "from:"),
        ({"to": 7}, "to:"),
        ({"to": ["+1"]}, "to:"),
        ({"body": {"text": "x"}}, "body:"),
        ({"html": 1}, "html:"),
        ({"subject": []}, "subject:"),
        ({"attachments": "http://a/"}, "attachments:"),
        ({"attachments": [7]}, "attachments:"),
        ({"attachments": ["http://a/"] * 251}, "attachments:"),
        ({"attachments": [{}]}, "attachments:"),
        ({"attachments": [{"url": "http://a/", "content": "aGk="}]}, "attachments:"),
        ({"attachments": [{"content": "?"}]}, "attachments:"),
        ({"attachments": [{"content": "ё"}]}, "attachments:"),
        ({"attachments": ["file:///etc/passwd"]}, "attachments:"),
        ({"attachments": ["javascript:alert(1)"]}, "attachments:"),
        ({"attachments": ["http://[x/"]}, "attachments:"),
        ({"attachments": [{"url": "http://a/", "filename": 1}]}, "filename:"),
    ]
    failures = []
    for changes, says in rows:
        with pytest.raises(MalformedWebhook) as raised:
            read_message({**SMS, **changes}, "key")
        if says not in str(raised.value):
            failures.append((changes, raised.value))
    assert not failures


def test_statuses_are_mapped() -> None:
    rows = [
        ("queued", "queued", False),
        ("accepted", "queued", False),
        ("sent", "sent", False),
        (" Delivered ", "delivered", False),
        ("READ", "opened", False),
        ("clicked", "clicked", False),
        ("deferred", "deferred", False),
        ("bounced", "bounced", False),
        ("undelivered", "bounced", False),
        ("failed", "failed", False),
        ("expired", "failed", False),
        ("spam", "complained", True),
        ("unsubscribed", "unsubscribed", True),
        ("resubscribed", "resubscribed", False),
        ("eaten", "unrecognised", False),
        ("", "unrecognised", False),
    ]
    failures = []
    for status, kind, suppress in rows:
        receipt = read_report({"id": "m-1", "status": status}, "key")
        found = (receipt.key, receipt.kind, receipt.suppress)
        if found != ("key", kind, suppress):
            failures.append((status, found))
    assert not failures


def test_report_is_parsed():
    fields = {
        "messageId": "67f2",
        "uid": UID,
        "status": "failed",
        "to": "+12016661234",
        "code": 30003,
        "reason": "+12016661234 is out\nof reach",
        "timestamp": "2024-11-01T14:00:00Z",
        "price": 0.1,
    }

    assert read_report(fields, "key") == Receipt(
        key="key",
        kind="failed",
        provider_message_id="67f2",
        message_uid=UID,
        recipient="+12016661234",
        occurred_at=AT,
        code="30003",
        detail="+*** is out of reach",
        payload=fields,
    )


def test_unrecognised_report_keeps_the_word_of_the_provider() -> None:
    rows = [
        ({"status": " Teleported "}, "status Teleported"),
        ({"status": "teleported", "reason": "why not"}, "status teleported: why not"),
        ({"status": "to +4915112345678", "to": "+4915112345678"}, "status to +***"),
        ({"status": ""}, None),
    ]
    found = [(fields, read_report({"id": "m-1", **fields}, "key").detail) for fields, _ in rows]
    assert found == rows


def test_report_identifies_its_message() -> None:
    rows = [
        ({"id": 7}, ("7", None)),
        ({"message_id": "a"}, ("a", None)),
        ({"messaging_provider_id": "a"}, ("a", None)),
        ({"uid": UID.upper()}, (None, UID)),
        ({"uid": "no uuid", "id": "a"}, ("a", None)),
        ({"uid": 7, "id": "a"}, ("a", None)),
    ]
    failures = []
    for fields, expected in rows:
        receipt = read_report({"status": "sent", **fields}, "key")
        found = (receipt.provider_message_id, receipt.message_uid)
        if found != expected:
            failures.append((fields, found))
    assert not failures


def test_invalid_report_is_malformed() -> None:
    rows = [
        ({"id": "a"}, "status:"),
        ({"id": "a", "status": 1}, "status:"),
        ({"status": "sent"}, "is required"),
        ({"status": "sent", "id": None, "uid": "no uuid"}, "is required"),
    ]
    failures = []
    for fields, says in rows:
        with pytest.raises(MalformedWebhook) as raised:
            read_report(fields, "key")
        if says not in str(raised.value):
            failures.append((fields, raised.value))
    assert not failures


def test_body_that_is_not_an_object_is_malformed() -> None:
    rows = [
        b"",
        b"{",
        b"[]",
        b"7",
        b"\xff",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b"[" * 99999,
    ]
    failures = []
    for body in rows:
        try:
            failures.append((body[:20], parse_object(body)))
        except MalformedWebhook:
            continue
    assert not failures
