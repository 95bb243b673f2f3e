import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.base import Attachment, Misconfigured, Rejected, Unavailable, Uncertain
from connectors.gateway.connector import Gateway, GatewaySettings

ID = "67f2f8a8-ea58-4ed0-a6f9-ff217df4d849"
ACCEPTED = json.dumps({"message": "Accepted", "messageId": ID}).encode()
KEY = "k3y-of-ours"


@pytest.fixture
def make_gateway(provider, tight_limits) -> Iterator[Callable[..., Gateway]]:
    gateways: list[Gateway] = []

    def make(**settings: Any) -> Gateway:
        given = {"url": f"{provider.url}/hook?v=1", "key": KEY, **tight_limits, **settings}
        gateways.append(Gateway(GatewaySettings(**given)))
        return gateways[-1]

    yield make
    for gateway in gateways:
        gateway.close()


def test_an_sms_goes_out_as_the_gateway_wants_it(make_gateway, make_message, provider):
    provider.answer(202, ACCEPTED)

    accepted = make_gateway().send(make_message(recipient="+905551111111", body="Merhaba ё"))

    assert (accepted.provider_message_id, accepted.code) == (ID, "202")
    [received] = provider.received
    assert (received.method, received.path) == ("POST", "/hook?v=1")
    assert json.loads(received.body) == {"to": "+905551111111", "content": "Merhaba ё"}
    assert received.headers["Content-Type"] == "application/json"
    assert received.headers["Accept"] == "application/json"
    assert received.headers["Idempotency-Key"] == "018f-uid-1"
    assert received.headers["x-ins-auth-key"] == KEY


def test_every_try_of_a_message_carries_the_same_idempotency_key(
    make_gateway, make_message, provider
):
    provider.answer(202, ACCEPTED)
    gateway, message = make_gateway(), make_message()

    gateway.send(message)
    gateway.send(message)

    assert {received.headers["Idempotency-Key"] for received in provider.received} == {message.uid}


@pytest.mark.parametrize(
    ("settings", "header", "value"),
    [
        ({"key_header": "api-key"}, "api-key", KEY),
        ({"key_header": "api-key"}, "x-ins-auth-key", None),
        ({"key": None}, "x-ins-auth-key", None),
        ({"key": ""}, "x-ins-auth-key", None),
    ],
)
def test_the_key_goes_into_the_configured_header_if_there_is_one(
    make_gateway, make_message, provider, settings, header, value
):
    provider.answer(202, ACCEPTED)

    make_gateway(**settings).send(make_message())

    assert provider.received[0].headers[header] == value


def test_attachments_of_an_mms_go_by_address(make_gateway, make_message, provider):
    provider.answer(202, ACCEPTED)
    attachment = Attachment("cat.png", "image/png", url="https://files.test/cat.png")

    make_gateway().send(make_message(channel="mms", attachments=(attachment,)))

    assert json.loads(provider.received[0].body)["attachments"] == ["https://files.test/cat.png"]


@pytest.mark.parametrize(
    ("status", "body", "message_id"),
    [
        (202, b'{"message": "accepted", "messageId": "a"}', "a"),
        (202, b'{"message": " ACCEPTED ", "messageId": 42}', "42"),
        (202, b'{"message": "Accepted"}', None),
        (202, b'{"messageId": "a"}', "a"),
        (202, b'{"message": 1, "messageId": true}', None),
        (202, b'{"messageId": "a\\u0000b\\ud800"}', "a b"),
        (202, b'{"messageId": "%s"}' % (b"x" * 1000), "x" * 255),
        (202, b'["Accepted"]', None),
        (202, b'{"message": "Acc', None),
        (202, b"", None),
        (200, ACCEPTED, ID),
    ],
)
def test_a_success_status_is_accepted_unless_its_body_says_otherwise(
    make_gateway, make_message, provider, status, body, message_id
):
    provider.answer(status, body)

    accepted = make_gateway(success_statuses=[200, 202]).send(make_message())

    assert (accepted.provider_message_id, accepted.code) == (message_id, str(status))


@pytest.mark.parametrize(
    ("status", "body", "outcome", "detail"),
    [
        (202, b'{"message": "Queue full"}', Rejected, "Queue full"),
        (202, b'{"message": ""}', Rejected, ""),
        (200, ACCEPTED, Rejected, "unexpected status; Accepted"),
        (204, b"", Rejected, "unexpected status"),
        (302, b"", Misconfigured, ""),
        (400, b'{"message": "bad number"}', Rejected, "bad number"),
        (401, b"who are you", Misconfigured, "who are you"),
        (403, b"", Misconfigured, ""),
        (404, b"", Rejected, ""),
        (408, b"", Unavailable, ""),
        (425, b"", Unavailable, ""),
        (429, b"slow down", Unavailable, "slow down"),
        (500, b"<h1>oops</h1>", Unavailable, "<h1>oops</h1>"),
        (503, b"", Unavailable, ""),
    ],
)
def test_any_other_reply_is_no_success(
    make_gateway, make_message, provider, status, body, outcome, detail
):
    provider.answer(status, body)

    with pytest.raises(outcome) as raised:
        make_gateway().send(make_message())

    assert (raised.value.code, raised.value.detail) == (str(status), detail)


def test_the_wait_that_the_gateway_asks_for_is_passed_on(make_gateway, make_message, provider):
    provider.answer(429, b"", Retry_After="120")

    with pytest.raises(Unavailable) as raised:
        make_gateway().send(make_message())

    assert raised.value.retry_after == timedelta(seconds=120)


@pytest.mark.parametrize("status", [202, 400, 401, 503])
def test_neither_key_nor_recipient_nor_content_is_in_an_error(
    make_gateway, make_message, provider, status
):
    echo = {"message": f"no: {KEY} +12015550123 12015550123 Your code is 4711"}
    provider.answer(status, json.dumps(echo).encode())

    with pytest.raises((Rejected, Misconfigured, Unavailable)) as raised:
        make_gateway().send(make_message())

    assert raised.value.detail == "no: *** +*** *** ***"


@pytest.mark.parametrize("misbehaviour", ["hang", "reset"])
def test_a_gateway_that_takes_a_message_and_says_nothing_leaves_it_uncertain(
    make_gateway, make_message, provider, misbehaviour
):
    getattr(provider, misbehaviour)()

    with pytest.raises(Uncertain):
        make_gateway().send(make_message())
    assert len(provider.received) == 1


@pytest.mark.parametrize(("length", "sent"), [(200, True), (201, False)])
def test_a_text_above_the_limit_is_refused_before_it_is_sent(
    make_gateway, make_message, provider, length, sent
):
    provider.answer(202, ACCEPTED)
    gateway = make_gateway(content_limit_characters=200)

    if sent:
        gateway.send(make_message(body="ё" * length))
    else:
        with pytest.raises(Rejected, match="content_too_long"):
            gateway.send(make_message(body="ё" * length))

    assert len(provider.received) == sent


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"url": "ftp://host/"}, "url"),
        ({"url": "/hook"}, "url"),
        ({"url": "http://"}, "url"),
        ({"url": "http://host:99999/"}, "url"),
        ({"url": "http://host:0/"}, "url"),
        ({"url": "http://s3cret:s3cret@host/"}, "url"),
        ({"url": "http://host/#s3cret"}, "url"),
        ({"url": "http://host/a b"}, "url"),
        ({"url": "http://host\\@other/"}, "url"),
        ({"url": "http://host/", "key": "s3cret\n"}, "key"),
        ({"url": "http://host/", "key": "s3crёt"}, "key"),
        ({"url": "http://host/", "key_header": "a b"}, "key_header"),
        ({"url": "http://host/", "key_header": "a\n"}, "key_header"),
        ({"url": "http://host/", "success_statuses": []}, "success_statuses"),
        ({"url": "http://host/", "success_statuses": [404]}, "success_statuses"),
        ({"url": "http://host/", "content_limit_characters": 0}, "content_limit_characters"),
        ({}, "url"),
    ],
)
def test_bad_settings_are_refused_by_name_without_showing_secrets(settings, key):
    with pytest.raises(ValidationError, match=key) as raised:
        GatewaySettings(**settings)

    assert "s3cr" not in str(raised.value)


def test_the_key_is_not_shown_with_the_settings(make_gateway):
    assert KEY not in repr(make_gateway().settings)
