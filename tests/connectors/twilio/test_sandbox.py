from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import Any

import pytest

from connectors.base import Attachment, Misconfigured, Rejected, Unavailable, WebhookRequest

SERVICE = "MG" + "d" * 32
API_KEY = {"api_key_sid": "SK" + "c" * 32, "api_key_secret": "sandbox-api-key-secret"}


@pytest.mark.parametrize(
    ("settings", "message", "prefix"),
    [
        ({}, {}, "SM"),
        ({"auth_token": None, **API_KEY}, {}, "SM"),
        ({"auth_token": "for webhooks only", **API_KEY}, {}, "SM"),
        ({"sender": None, "messaging_service_sid": SERVICE}, {"sender": None}, "SM"),
        ({}, {"sender": "Shop"}, "SM"),
        ({"sender": "whatsapp:+15005550006"}, {"recipient": "whatsapp:+12015550123"}, "SM"),
        (
            {"validity_period_seconds": 36_000},
            {
                "channel": "mms",
                "body": "",
                "attachments": (Attachment("a", "image/png", url="https://f.test/a.png"),) * 10,
            },
            "MM",
        ),
    ],
)
def test_twilio_takes_what_we_send(at_sandbox, make_message, sandbox, settings, message, prefix):
    outbound = make_message(**message)

    accepted = at_sandbox(**settings).send(outbound)

    [record] = sandbox.received(kind="twilio")
    assert accepted.provider_message_id == record["message_id"]
    assert record["message_id"].startswith(prefix)
    assert (record["to"], record["content"]) == (outbound.recipient, outbound.body)
    assert record["media"] == [attachment.url for attachment in outbound.attachments]


@pytest.mark.parametrize(
    ("settings", "message", "outcome", "code"),
    [
        ({"auth_token": "wrong"}, {}, Misconfigured, "20003"),
        (
            {"account_sid": "AC" + "0" * 32, "auth_token": None, **API_KEY},
            {},
            Misconfigured,
            "20404",
        ),
        ({}, {"recipient": "+12"}, Rejected, "21211"),
        ({}, {"sender": "much too long a name"}, Rejected, "21212"),
        ({}, {"recipient": "whatsapp:+12015550123"}, Rejected, "63007"),
        ({}, {"body": ""}, Rejected, "21602"),
    ],
)
def test_what_twilio_refuses_is_told_by_its_code(
    at_sandbox, make_message, settings, message, outcome, code
):
    with pytest.raises(outcome) as raised:
        at_sandbox(**settings).send(make_message(**message))

    assert raised.value.code == code


def test_a_busy_twilio_is_asked_again_later(at_sandbox, make_message, sandbox):
    body = {"code": 20429, "message": "Too Many Requests", "status": 429}
    sandbox.control("*", {"status": 429, "body": body}, kind="twilio", times=1)
    twilio, message = at_sandbox(), make_message()

    with pytest.raises(Unavailable, match="20429"):
        twilio.send(message)
    twilio.send(message)

    assert sandbox.count()["total"] == 1


@pytest.fixture
def next_call(provider) -> Callable[..., WebhookRequest]:
    """The next call that the sandbox makes to `provider`, as a webhook of ours would see it."""
    arrived: SimpleQueue[WebhookRequest] = SimpleQueue()
    answer = provider.behave

    def behave(handler: Any) -> None:
        received = provider.received[-1]
        headers = {name.lower(): value for name, value in received.headers.items()}
        url = provider.url + received.path
        now = datetime.now(UTC)
        arrived.put(WebhookRequest("status", received.method, url, headers, received.body, now))
        answer(handler)

    provider.behave = behave
    return lambda kind: replace(arrived.get(timeout=30), kind=kind)


@pytest.mark.parametrize(
    ("to", "last", "code", "suppress"),
    [
        ("+12015550123", "delivered", None, False),
        ("+15005553003", "bounced", "30003", False),
        ("+15005553005", "bounced", "30005", True),
    ],
)
def test_twilio_reports_by_itself_what_became_of_a_message(
    at_sandbox, make_message, provider, next_call, to, last, code, suppress
):
    twilio = at_sandbox(status_callback=f"{provider.url}/status")

    accepted = twilio.send(make_message(recipient=to))

    receipts = [twilio.receive(next_call("status")).items[0] for _ in range(3)]
    assert [receipt.kind for receipt in receipts] == ["queued", "sent", last]
    assert {receipt.provider_message_id for receipt in receipts} == {accepted.provider_message_id}
    assert {receipt.message_uid for receipt in receipts} == {"018f-uid-1"}
    assert (receipts[-1].code, receipts[-1].suppress) == (code, suppress)


def test_a_message_that_twilio_brings_is_read(receive, sandbox, provider, next_call):
    incoming = {
        "url": f"{provider.url}/inbound?a=1",
        "Body": "Да 👋",
        "OptOutType": "START",
        "MediaUrl": ["https://api.twilio.com/cat.png"],
    }

    sandbox.session.post(f"{sandbox.http_url}/twilio/_inbound", json=incoming, timeout=30)

    [message] = receive(next_call("inbound")).items
    assert (message.body, message.keyword, message.channel) == ("Да 👋", "start", "mms")
    assert message.attachments[0].url == "https://api.twilio.com/cat.png"
