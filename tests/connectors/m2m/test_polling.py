import json
from collections.abc import Sequence
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import pytest

from connectors.base import Misconfigured, Rejected, SentMessage, Unavailable
from connectors.m2m.connector import IDS_PER_REQUEST, M2m
from connectors.m2m.soap import KIND_OF_STATUS
from tests.connectors.m2m.wire import KEY, OMNICHANNEL, RECIPIENT, SOAP_12, fault_12

UNDELIVERABLE = "+79990000301"
AT = "2026-11-22T15:00:00.1234567+03:00"


def sent(*ids: str) -> list[SentMessage]:
    at = datetime(2026, 11, 22, tzinfo=UTC)
    return [SentMessage(one, f"uid-{one}", "sms", RECIPIENT, at) for one in ids]


def soap_reply(*deliveries: tuple[str, str, str]) -> bytes:
    """The answer about messages of these ids, statuses and dates."""
    entries = "".join(
        f"<MessageStatusWithID><MessageID>{one}</MessageID><Delivery><DeliveryInfo>"
        f"<Msid>79161234567</Msid><DeliveryStatus>{status}</DeliveryStatus>"
        f"<DeliveryDate>{date}</DeliveryDate><UserDeliveryDate i:nil='true'/>"
        "<PartCount>2</PartCount></DeliveryInfo></Delivery></MessageStatusWithID>"
        for one, status, date in deliveries
    )
    return f"""<s:Envelope xmlns:s="{SOAP_12}" xmlns:i="http://www.w3.org/2001/XMLSchema-instance">
<s:Body><GetMessagesStatusResponse xmlns="http://mcommunicator.ru/M2M"><GetMessagesStatusResult>
{entries}</GetMessagesStatusResult></GetMessagesStatusResponse></s:Body></s:Envelope>""".encode()


def asked_ids(body: bytes) -> list[str]:
    return [one.text or "" for one in ET.fromstring(body).iterfind(".//{*}long")]


def kinds(connector: M2m, ids: Sequence[str]) -> list[tuple[str | None, str]]:
    receipts = connector.poll(sent(*ids))
    return [(receipt.provider_message_id, receipt.kind) for receipt in receipts]


@pytest.mark.parametrize(
    ("settings", "polls"),
    [
        (
            KEY,
            [
                ["queued", "queued"],
                ["sent", "sent"],
                ["delivered", "bounced"],
                ["delivered", "bounced"],
            ],
        ),
        (
            OMNICHANNEL,
            [
                [],
                ["sent", "sent"],
                ["sent", "delivered", "sent", "bounced"],
                ["sent", "delivered", "sent", "bounced"],
            ],
        ),
    ],
    ids=["soap", "omnichannel"],
)
def test_the_fate_of_messages_is_followed_to_its_end(at_sandbox, make_message, settings, polls):
    connector = at_sandbox(**settings)
    ids = [
        str(connector.send(make_message(recipient=number)).provider_message_id)
        for number in (RECIPIENT, UNDELIVERABLE)
    ]

    receipts = [connector.poll(sent(*ids)) for _ in polls]

    assert [[receipt.kind for receipt in poll] for poll in receipts] == polls
    assert {receipt.provider_message_id for poll in receipts for receipt in poll} == set(ids)
    assert {receipt.recipient for receipt in receipts[-1]} == {RECIPIENT, UNDELIVERABLE}
    assert all(receipt.occurred_at for receipt in receipts[-1])
    assert receipts[2] == receipts[3]
    by_key = {receipt.key: receipt.kind for poll in receipts for receipt in poll}
    seen = {(receipt.provider_message_id, receipt.kind) for poll in receipts for receipt in poll}
    assert len(by_key) == len(seen)


def test_many_messages_are_asked_for_in_few_calls(at_provider, provider):
    provider.answer(200, soap_reply())
    ids = [str(number) for number in range(1, IDS_PER_REQUEST * 2 + 2)]

    assert at_provider(**KEY).poll(sent(*ids)) == []

    batches = [asked_ids(received.body) for received in provider.received]
    assert [len(batch) for batch in batches] == [IDS_PER_REQUEST, IDS_PER_REQUEST, 1]
    assert [one for batch in batches for one in batch] == ids


@pytest.mark.parametrize("settings", [KEY, OMNICHANNEL], ids=["soap", "omnichannel"])
def test_for_no_messages_nothing_is_asked(at_provider, provider, settings):
    assert at_provider(**settings).poll([]) == []
    assert provider.received == []


@pytest.mark.parametrize(
    ("status", "kind"), [*KIND_OF_STATUS.items(), ("Resting", "unrecognised"), ("", "unrecognised")]
)
def test_each_status_of_m2m_is_a_kind_of_receipt(at_provider, provider, status, kind):
    provider.answer(200, soap_reply(("2648", status, AT)))

    [receipt] = at_provider(**KEY).poll(sent("2648"))

    assert (receipt.kind, receipt.code, receipt.suppress) == (kind, status, False)
    assert receipt.key == f"2648:{status}:{AT}"
    assert receipt.occurred_at == datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)
    assert receipt.payload["PartCount"] == "2"


@pytest.mark.parametrize(
    "date",
    [
        "2026-11-22T15:00:00",
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+03:00",
        "9999-12-31T23:59:59-03:00",
        "soon",
        "",
    ],
)
def test_a_time_without_a_zone_or_sense_is_not_guessed(at_provider, provider, date):
    provider.answer(200, soap_reply(("2648", "Sent", date)))

    [receipt] = at_provider(**KEY).poll(sent("2648"))

    assert (receipt.occurred_at, receipt.key) == (None, f"2648:Sent:{date}")


def test_an_id_that_mts_does_not_know_hides_no_other(at_sandbox, make_message):
    connector = at_sandbox(**KEY)
    known = [
        str(connector.send(make_message(recipient=RECIPIENT)).provider_message_id) for _ in range(3)
    ]

    assert kinds(connector, ["1", known[0], "uuid-4", known[1], "2", known[2]]) == [
        (one, "queued") for one in known
    ]
    assert kinds(connector, ["1"]) == []
    assert kinds(connector, ["uuid-4"]) == []


@pytest.mark.parametrize(
    ("status", "body", "error", "code"),
    [
        (500, fault_12("INCORRECT_PASSWORD"), Misconfigured, "INCORRECT_PASSWORD"),
        (500, fault_12("SYSTEM_FAILURE"), Unavailable, "SYSTEM_FAILURE"),
        (500, fault_12("TOO_MANY_PARAMETERS"), Rejected, "TOO_MANY_PARAMETERS"),
        (503, b"", Unavailable, "503"),
        (200, b"<html>", Unavailable, "invalid_response"),
        (200, b"", Unavailable, "invalid_response"),
    ],
)
def test_an_inquiry_to_m2m_fails_as_a_message_does(
    at_provider, provider, status, body, error, code
):
    provider.answer(status, body)

    with pytest.raises(error) as raised:
        at_provider(**KEY).poll(sent("2648", "2649"))

    assert raised.value.code == code
    assert len(provider.received) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, "sent"),
        (201, "failed"),
        (202, "sent"),
        (300, "delivered"),
        (301, "bounced"),
        (302, "sent"),
        (999, "unrecognised"),
        ("300", "delivered"),
        (None, "unrecognised"),
    ],
)
def test_each_status_of_omnichannel_is_a_kind_of_receipt(at_provider, provider, status, kind):
    event = {
        "status": status,
        "event_at": "2026-11-22T12:00:00Z",
        "internal_id": "77",
        "message_id": "018f-uid-1",
        "destination": "79161234567",
        "internal_errors": [4, 5],
    }
    reply = {"events_info": [{"key": "77", "events_info": [event]}]}
    provider.answer(200, json.dumps(reply).encode())

    [receipt] = at_provider(**OMNICHANNEL).poll(sent("77"))

    assert json.loads(provider.received[0].body) == {"int_ids": ["77"]}
    assert provider.received[0].path == "/mts/messages/info"
    assert (receipt.kind, receipt.code) == (kind, str(status))
    assert receipt.key == f"77:{status}:2026-11-22T12:00:00Z"
    assert (receipt.provider_message_id, receipt.message_uid) == ("77", "018f-uid-1")
    assert receipt.recipient == RECIPIENT
    assert receipt.detail == "internal errors: [4, 5]"
    assert receipt.occurred_at == datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("groups", "found"),
    [
        ([], []),
        ([{"key": "77", "events_info": []}], []),
        ([{"key": "77", "events_info": None}], []),
        ([{"key": "77", "events_info": [{"status": 300}]}], ["77"]),
        ([{"key": 77, "events_info": [{"status": 300, "internal_id": 78}]}], ["78"]),
        ([{"events_info": [{"status": 300}]}], []),
        (["?", {"key": "77", "events_info": ["?", {"status": 300}]}], ["77"]),
    ],
)
def test_what_omnichannel_leaves_out_is_done_without(at_provider, provider, groups, found):
    provider.answer(200, json.dumps({"events_info": groups}).encode())

    assert [one for one, _ in kinds(at_provider(**OMNICHANNEL), ["77"])] == found


@pytest.mark.parametrize(
    ("status", "body", "error", "code"),
    [
        (401, b'{"message": "no"}', Misconfigured, "401"),
        (503, b"", Unavailable, "503"),
        (200, b"", Unavailable, "invalid_response"),
        (200, b'{"events_info": {}}', Unavailable, "invalid_response"),
    ],
)
def test_an_inquiry_to_omnichannel_fails_as_a_message_does(
    at_provider, provider, status, body, error, code
):
    provider.answer(status, body)

    with pytest.raises(error) as raised:
        at_provider(**OMNICHANNEL).poll(sent("77"))

    assert raised.value.code == code
