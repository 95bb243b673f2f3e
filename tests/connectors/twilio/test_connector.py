from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import pytest
from pydantic import ValidationError

from connectors.base import Attachment, Rejected, Uncertain
from connectors.twilio.connector import Twilio
from tests.connectors.twilio.calls import TOKEN

SERVICE = "MG" + "d" * 32
PATH = f"/2010-04-01/Accounts/AC{'a' * 32}/Messages.json"


@pytest.fixture
def sent_parameters(make_message, provider) -> Callable[..., list[tuple[str, str]]]:
    """What `twilio` puts into the form of one message."""

    def sent(twilio: Twilio, **message: Any) -> list[tuple[str, str]]:
        twilio.send(make_message(**message))
        return parse_qsl(provider.received[-1].body.decode(), keep_blank_values=True)

    return sent


def test_an_sms_goes_out_as_twilio_wants_it(make_twilio, make_message, provider):
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


def test_the_slash_at_the_end_of_the_address_is_not_doubled(make_twilio, make_message, provider):
    make_twilio(base_url=f"{provider.url}/").send(make_message())

    assert provider.received[0].path == PATH


@pytest.mark.parametrize(
    ("settings", "message", "expected"),
    [
        ({"sender": None, "messaging_service_sid": SERVICE}, {}, {"MessagingServiceSid": SERVICE}),
        (
            {"messaging_service_sid": SERVICE},
            {},
            {"From": "+15005550006", "MessagingServiceSid": SERVICE},
        ),
        ({}, {"sender": "Shop"}, {"From": "Shop"}),
        (
            {},
            {"sender": "whatsapp:+15005550001", "recipient": "whatsapp:+12015550123"},
            {"From": "whatsapp:+15005550001", "To": "whatsapp:+12015550123"},
        ),
        ({"validity_period_seconds": 60}, {}, {"From": "+15005550006", "ValidityPeriod": "60"}),
        ({}, {"body": ""}, {"From": "+15005550006", "Body": None}),
        (
            {"status_callback": "https://postroom.example/api/webhooks/twilio/status"},
            {},
            {
                "From": "+15005550006",
                "StatusCallback": "https://postroom.example/api/webhooks/twilio/status"
                "?message_uid=018f-uid-1#rc=5&rp=all",
            },
        ),
        (
            {"status_callback": "https://postroom.example/status?a=1"},
            {},
            {
                "From": "+15005550006",
                "StatusCallback": "https://postroom.example/status?a=1"
                "&message_uid=018f-uid-1#rc=5&rp=all",
            },
        ),
    ],
)
def test_settings_and_message_make_the_parameters(
    make_twilio, sent_parameters, settings, message, expected
):
    usual = {"To": "+12015550123", "Body": "Your code is 4711"}
    wanted = {name: value for name, value in {**usual, **expected}.items() if value is not None}

    assert dict(sent_parameters(make_twilio(**settings), **message)) == wanted


def test_files_go_by_address(make_twilio, sent_parameters):
    files = ["https://files.test/cat.png?a=1&b=2", "https://files.test/dog.png"]
    attachments = tuple(Attachment("file", "image/png", url=url) for url in files)

    sent = sent_parameters(make_twilio(), channel="mms", attachments=attachments)

    assert [value for name, value in sent if name == "MediaUrl"] == files


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"body": "ё" * 1600}, None),
        ({"body": "ё" * 1601}, "content_too_long"),
        ({"attachments": (Attachment("a", "image/png", url="https://f.test/a"),) * 10}, None),
        (
            {"attachments": (Attachment("a", "image/png", url="https://f.test/a"),) * 11},
            "too_many_attachments",
        ),
    ],
)
def test_what_is_above_a_limit_is_refused_before_it_is_sent(
    make_twilio, make_message, provider, message, code
):
    twilio = make_twilio()

    if code is None:
        twilio.send(make_message(**message))
    else:
        with pytest.raises(Rejected, match=code):
            twilio.send(make_message(**message))

    assert len(provider.received) == (code is None)


@pytest.mark.parametrize(
    ("status", "body", "sid"),
    [
        (201, b'{"sid": "MM1", "status": "accepted", "from": null}', "MM1"),
        (200, b'{"sid": "SM1"}', "SM1"),
        (201, b'{"sid": "%s"}' % (b"x" * 1000), "x" * 255),
        (201, b'{"sid": "S\\u0000M\\ud800"}', "S M"),
        (201, b'{"sid": true}', None),
        (201, b'{"sid": ""}', None),
        (201, b'["SM1"]', None),
        (201, b'{"sid": "SM', None),
        (201, b"", None),
    ],
)
def test_a_success_status_is_a_promise_whatever_the_body(
    make_twilio, make_message, provider, status, body, sid
):
    provider.answer(status, body)

    accepted = make_twilio().send(make_message())

    assert (accepted.provider_message_id, accepted.code) == (sid, str(status))


@pytest.mark.parametrize("misbehaviour", ["hang", "reset"])
def test_silence_after_the_request_leaves_it_uncertain(
    make_twilio, make_message, provider, misbehaviour
):
    getattr(provider, misbehaviour)()

    with pytest.raises(Uncertain):
        make_twilio().send(make_message())
    assert len(provider.received) == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"account_sid": "SK" + "a" * 32}, "account_sid"),
        ({"auth_token": ""}, "auth_token"),
        ({"auth_token": "two\nlines"}, "auth_token"),
        ({"auth_token": None}, "auth_token: missing"),
        ({"api_key_sid": "SK" + "c" * 32}, "only one is set"),
        ({"api_key_secret": "s"}, "only one is set"),
        ({"sender": None}, "sender: missing"),
        ({"sender": ""}, "sender"),
        ({"messaging_service_sid": "MG1"}, "messaging_service_sid"),
        ({"base_url": "https://api.twilio.com?x"}, "no query"),
        ({"status_callback": "https://post_room.example/status"}, "underscore"),
        ({"status_callback": "/status"}, "status_callback"),
        ({"validity_period_seconds": 0}, "validity_period_seconds"),
        ({"validity_period_seconds": 36_001}, "validity_period_seconds"),
        ({"webhook_auth_tokens": ["a", "b", "c"]}, "webhook_auth_tokens"),
        ({"webhook_auth_tokens": [""]}, "webhook_auth_tokens"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(make_twilio, settings, said):
    with pytest.raises(ValidationError, match=said) as refused:
        make_twilio(**settings)

    assert TOKEN not in str(refused.value)
