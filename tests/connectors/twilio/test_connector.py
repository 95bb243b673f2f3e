from typing import Any
from urllib.parse import parse_qsl

import pytest

from connectors.base import (
    Attachment,
    Misconfigured,
    Rejected,
    Unavailable,
    Uncertain,
)
from tests.connectors.receiving import next_webhook
from tests.connectors.sending import outcome

SERVICE = "MG" + "d" * 32
API_KEY = {"api_key_sid": "SK" + "c" * 32, "api_key_secret": "sandbox-api-key-secret"}
PATH = f"/2010-04-01/Accounts/AC{'a' * 32}/Messages.json"
FILE = Attachment("a", "image/png", url="https://files.test/a.png?a=1&b=2")


def test_sms_is_posted_as_a_form(make_twilio, make_message, provider):
    accepted = make_twilio().send(make_message(recipient="+14155552671", body="Hé & = ☕"))

    assert (accepted.provider_message_id, accepted.code) == ("SM" + "b" * 32, "201")
    [received] = provider.received
    assert (received.method, received.path) == ("POST", PATH)
    assert received.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert received.body == (
        b"To=%2B14155552671&From=%2B15005550006&Body=H%C3%A9+%26+%3D+%E2%98%95"
    )
    assert received.headers["Authorization"] == (
        "Basic QUNhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYTowMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OW"
        "FiY2RlZg=="
    )


def test_trailing_slash_of_the_base_url_is_ignored(make_twilio, make_message, provider):
    make_twilio(base_url=f"{provider.url}/").send(make_message())

    assert provider.received[0].path == PATH


def test_parameters_come_from_settings_and_message(make_twilio, make_message, provider):
    own = "https://postroom.example/status"
    common = {"To": "+12015550123", "From": "+15005550006", "Body": "Your code is 4711"}
    table: list[tuple[dict[str, Any], dict[str, Any], dict[str, str | None]]] = [
        # settings, message, parameters besides the common ones
        (
            {"sender": None, "messaging_service_sid": SERVICE},
            {},
            {"From": None, "MessagingServiceSid": SERVICE},
        ),
        ({"messaging_service_sid": SERVICE}, {}, {"MessagingServiceSid": SERVICE}),
        ({}, {"sender": "Shop"}, {"From": "Shop"}),
        (
            {},
            {"sender": "whatsapp:+15005550001", "recipient": "whatsapp:+12015550123"},
            {"From": "whatsapp:+15005550001", "To": "whatsapp:+12015550123"},
        ),
        ({"validity_period_seconds": 60}, {}, {"ValidityPeriod": "60"}),
        ({}, {"body": ""}, {"Body": None}),
        (
            {"status_callback": own},
            {},
            {"StatusCallback": f"{own}?message_uid=018f-uid-1#rc=5&rp=all"},
        ),
        (
            {"status_callback": f"{own}?a=1"},
            {},
            {"StatusCallback": f"{own}?a=1&message_uid=018f-uid-1#rc=5&rp=all"},
        ),
    ]
    failures = []
    for settings, message, changes in table:
        make_twilio(**settings).send(make_message(**message))
        sent = dict(parse_qsl(provider.received[-1].body.decode(), keep_blank_values=True))
        expected = {name: value for name, value in {**common, **changes}.items() if value}
        if sent != expected:
            failures.append((settings, message, sent))
    assert not failures


def test_attachments_are_sent_as_urls(make_twilio, make_message, provider):
    other = Attachment("b", "image/png", url="https://files.test/b.png")

    make_twilio().send(make_message(channel="mms", attachments=(FILE, other)))

    sent = parse_qsl(provider.received[0].body.decode())
    assert [value for name, value in sent if name == "MediaUrl"] == [FILE.url, other.url]


def test_message_above_a_limit_is_rejected_before_it_is_sent(make_twilio, make_message, provider):
    twilio = make_twilio()

    twilio.send(make_message(body="ё" * 1600, attachments=(FILE,) * 10))
    with pytest.raises(Rejected, match=r"content_too_long: body: 1601 .* maximum is 1600"):
        twilio.send(make_message(body="ё" * 1601))
    with pytest.raises(Rejected, match=r"too_many_attachments: attachments: 11 .* maximum is 10"):
        twilio.send(make_message(attachments=(FILE,) * 11))

    assert len(provider.received) == 1


def test_success_status_is_an_acceptance_whatever_the_body(make_twilio, make_message, provider):
    table = [
        (201, b'{"sid": "MM1", "status": "accepted", "from": null}', "MM1"),
        (200, b'{"sid": "SM1"}', "SM1"),
        (201, b'{"sid": "%s"}' % (b"x" * 1000), "x" * 255),
        (201, b'{"sid": "S\\u0000M\\ud800"}', "S M"),
        (201, b'{"sid": true}', None),
        (201, b'{"sid": ""}', None),
        (201, b'["SM1"]', None),
        (201, b'{"sid": "SM', None),
        (201, b"", None),
    ]
    twilio = make_twilio()
    failures = []
    for status, body, sid in table:
        provider.answer(status, body)
        accepted = twilio.send(make_message())
        if (accepted.provider_message_id, accepted.code) != (sid, str(status)):
            failures.append((status, body, accepted))
    assert not failures


def test_request_without_an_answer_is_uncertain(make_twilio, make_message, provider):
    for misbehave in (provider.hang, provider.reset):
        misbehave()
        with pytest.raises(Uncertain):
            make_twilio().send(make_message())

    assert len(provider.received) == 2


# With the simulated Twilio


def test_simulated_twilio_accepts_every_kind_of_message(make_simulated, make_message, doubles):
    table: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        # settings, message, prefix of the message's id
        ({}, {}, "SM"),
        ({"auth_token": None, **API_KEY}, {}, "SM"),
        ({"auth_token": "for webhooks only", **API_KEY}, {}, "SM"),
        ({"sender": None, "messaging_service_sid": SERVICE}, {"sender": None}, "SM"),
        ({}, {"sender": "Shop"}, "SM"),
        ({"sender": "whatsapp:+15005550006"}, {"recipient": "whatsapp:+12015550123"}, "SM"),
        (
            {"validity_period_seconds": 36_000},
            {"channel": "mms", "body": "", "attachments": (FILE,) * 10},
            "MM",
        ),
    ]
    failures = []
    for settings, fields, prefix in table:
        message = make_message(**fields)
        sid = make_simulated(**settings).send(message).provider_message_id
        record = doubles.received(kind="twilio")[-1]
        received = (record["message_id"], record["to"], record["content"], record["media"])
        urls = [attachment.url for attachment in message.attachments]
        if received != (sid, message.recipient, message.body, urls) or sid[:2] != prefix:
            failures.append((settings, fields, record))
    assert not failures


def test_simulated_twilio_rejects_with_its_codes(make_simulated, make_message):
    other_account = {"account_sid": "AC" + "0" * 32, "auth_token": None, **API_KEY}
    table: list[tuple[dict[str, Any], dict[str, Any], type, str]] = [
        ({"auth_token": "wrong"}, {}, Misconfigured, "20003"),
        (other_account, {}, Misconfigured, "20404"),
        ({}, {"recipient": "+12"}, Rejected, "21211"),
        ({}, {"sender": "much too long a name"}, Rejected, "21212"),
        ({}, {"recipient": "whatsapp:+12015550123"}, Rejected, "63007"),
        ({}, {"body": ""}, Rejected, "21602"),
    ]
    failures = []
    for settings, message, kind, code in table:
        error = outcome(make_simulated(**settings), make_message(**message))
        if (type(error), error.code) != (kind, code):
            failures.append((settings, message, error))
    assert not failures


def test_message_can_be_sent_again_when_twilio_is_no_longer_busy(
    make_simulated, make_message, doubles
):
    body = {"code": 20429, "message": "Too Many Requests", "status": 429}
    doubles.control("*", {"status": 429, "body": body}, kind="twilio", times=1)
    twilio, message = make_simulated(), make_message()

    with pytest.raises(Unavailable, match="20429"):
        twilio.send(message)
    twilio.send(message)

    assert doubles.count()["total"] == 1


def test_simulated_twilio_reports_the_status_of_each_message(
    make_simulated, make_message, listener
):
    twilio = make_simulated(status_callback=f"{listener.url}/status")
    for to, last, code, suppress in [
        ("+12015550123", "delivered", None, False),
        ("+15005553003", "bounced", "30003", False),
        ("+15005553005", "bounced", "30005", True),
    ]:
        sid = twilio.send(make_message(recipient=to)).provider_message_id

        receipts = [twilio.receive(next_webhook(listener, "status")).items[0] for _ in range(3)]

        assert [receipt.kind for receipt in receipts] == ["queued", "sent", last]
        assert {receipt.provider_message_id for receipt in receipts} == {sid}
        assert {receipt.message_uid for receipt in receipts} == {"018f-uid-1"}
        assert (receipts[-1].code, receipts[-1].suppress) == (code, suppress)


def test_inbound_message_from_the_simulated_twilio_is_read(make_receiver, doubles, listener):
    incoming = {
        "url": f"{listener.url}/inbound?a=1",
        "Body": "Да 👋",
        "OptOutType": "START",
        "MediaUrl": ["https://api.twilio.com/cat.png"],
    }

    doubles.session.post(f"{doubles.http_url}/twilio/_inbound", json=incoming, timeout=30)

    [message] = make_receiver().receive(next_webhook(listener, "inbound")).items
    assert (message.body, message.keyword, message.channel) == ("Да 👋", "start", "mms")
    assert message.attachments[0].url == "https://api.twilio.com/cat.png"
