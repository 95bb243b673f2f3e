import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.base import Attachment, Misconfigured, Rejected, Unavailable, Uncertain
from connectors.gateway.connector import Gateway
from connectors.gateway.settings import GatewaySettings
from tests.connectors.sending import outcome

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

    provider.answer(202, ACCEPTED)
    yield make
    for gateway in gateways:
        gateway.close()


def test_sms_is_posted_as_json(make_gateway, make_message, provider):
    gateway = make_gateway()

    accepted = gateway.send(make_message(recipient="+905551111111", body="Merhaba ё"))

    assert (accepted.provider_message_id, accepted.code) == (ID, "202")
    [received] = provider.received
    assert (received.method, received.path) == ("POST", "/hook?v=1")
    assert json.loads(received.body) == {"to": "+905551111111", "content": "Merhaba ё"}
    assert received.headers["Content-Type"] == "application/json"
    assert received.headers["Accept"] == "application/json"
    assert received.headers["Idempotency-Key"] == "018f-uid-1"
    assert received.headers["x-ins-auth-key"] == KEY


def test_every_attempt_has_the_same_idempotency_key(make_gateway, make_message, provider):
    gateway, message = make_gateway(), make_message()

    gateway.send(message)
    gateway.send(message)

    assert {received.headers["Idempotency-Key"] for received in provider.received} == {message.uid}


def test_key_is_sent_in_the_configured_header(make_gateway, make_message, provider):
    for settings, header, value in [
        ({"key_header": "api-key"}, "api-key", KEY),
        ({"key_header": "api-key"}, "x-ins-auth-key", None),
        ({"key": None}, "x-ins-auth-key", None),
        ({"key": ""}, "x-ins-auth-key", None),
    ]:
        make_gateway(**settings).send(make_message())
        assert provider.received[-1].headers[header] == value, settings


def test_mms_attachments_are_sent_as_urls(make_gateway, make_message, provider):
    attachment = Attachment("cat.png", "image/png", url="https://files.test/cat.png")

    make_gateway().send(make_message(channel="mms", attachments=(attachment,)))

    assert json.loads(provider.received[0].body)["attachments"] == ["https://files.test/cat.png"]


@pytest.mark.parametrize("misbehaviour", ["hang", "reset"])
def test_missing_response_is_uncertain(make_gateway, make_message, provider, misbehaviour):
    getattr(provider, misbehaviour)()

    assert isinstance(outcome(make_gateway(), make_message()), Uncertain)
    assert len(provider.received) == 1


def test_text_above_the_limit_is_rejected_without_being_sent(make_gateway, make_message, provider):
    gateway = make_gateway(content_limit_characters=200)

    gateway.send(make_message(body="ё" * 200))
    error = outcome(gateway, make_message(body="ё" * 201))

    assert isinstance(error, Rejected)
    assert (error.code, error.detail) == ("content_too_long", "201 characters; the limit is 200")
    assert len(provider.received) == 1


def test_success_status_is_accepted_unless_the_body_says_otherwise(
    make_gateway, make_message, provider
):
    gateway = make_gateway(success_statuses=[200, 202])
    failures = []
    for status, body, message_id in [
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
    ]:
        provider.answer(status, body)
        accepted = gateway.send(make_message())
        if (accepted.provider_message_id, accepted.code) != (message_id, str(status)):
            failures.append((status, body, accepted))
    assert not failures


def test_other_responses_are_errors(make_gateway, make_message, provider):
    gateway = make_gateway()
    failures = []
    for status, body, error, detail in [
        (202, b'{"message": "Queue full"}', Rejected, "Queue full"),
        (202, b'{"message": ""}', Rejected, ""),
        (200, ACCEPTED, Rejected, "unexpected status; Accepted"),
        (302, b"", Misconfigured, ""),
        (400, b'{"message": "bad number"}', Rejected, "bad number"),
        (401, b"who are you", Misconfigured, "who are you"),
        (429, b"slow down", Unavailable, "slow down"),
        (500, b"<h1>oops</h1>", Unavailable, "<h1>oops</h1>"),
    ]:
        provider.answer(status, body)
        result = outcome(gateway, make_message())
        if (type(result), result.code, result.detail) != (error, str(status), detail):
            failures.append((status, body, result))
    assert not failures


def test_retry_after_is_honored(make_gateway, make_message, provider):
    provider.answer(429, b"", Retry_After="120")

    error = outcome(make_gateway(), make_message())

    assert isinstance(error, Unavailable)
    assert error.retry_after == timedelta(seconds=120)


def test_errors_do_not_reveal_key_recipient_or_content(make_gateway, make_message, provider):
    echo = {"message": f"no: {KEY} +12015550123 12015550123 Your code is 4711"}
    gateway = make_gateway()
    for status in (202, 400, 401, 503):
        provider.answer(status, json.dumps(echo).encode())
        assert outcome(gateway, make_message()).detail == "no: *** +*** *** ***"


def test_settings_do_not_reveal_the_key(make_gateway):
    assert KEY not in repr(make_gateway().settings)
    with pytest.raises(ValidationError, match="key") as raised:
        GatewaySettings(url="http://s3cret@host/", key="s3cret\n")
    assert "s3cret" not in str(raised.value)
