import json
from datetime import UTC, datetime
from typing import Any

from connectors.base import Misconfigured, Rejected, Unavailable
from tests.connectors.m2m.polling import poll, sent
from tests.connectors.m2m.soap_bodies import OMNICHANNEL, RECIPIENT
from tests.connectors.sending import outcome


def test_request_contains_message_and_credentials(make_scripted, make_message, provider):
    provider.answer(200, b'{"messages": [{"internal_id": "77", "error_code": 0}]}')

    accepted = make_scripted(**OMNICHANNEL).send(make_message(recipient=RECIPIENT, body="Привет"))

    assert accepted.provider_message_id == "77"
    [received] = provider.received
    assert (received.method, received.path) == ("POST", "/mts/messages")
    assert received.headers["Authorization"] == "Basic Z3dfbG9naW46Z3dfcGFzc3dvcmQ="
    assert received.headers["Content-Type"] == "application/json"
    assert json.loads(received.body) == {
        "messages": [
            {
                "content": {"short_text": "Привет"},
                "to": [{"msisdn": "79161234567", "message_id": "018f-uid-1"}],
            }
        ],
        "options": {"from": {"sms_address": "RELAY"}},
    }


def test_message_can_be_rejected_in_a_successful_response(make_scripted, make_message, provider):
    table: list[tuple[dict[str, Any], str]] = [
        ({"internal_id": "0", "error_code": 12, "error_message": "no"}, "12"),
        ({"internal_id": "5", "error_code": 12}, "12"),
        ({"internal_id": "0", "error_code": "12"}, "12"),
        ({"internal_id": "0", "error_code": 0}, "not_accepted"),
        ({"internal_id": 0}, "not_accepted"),
    ]
    m2m, message = make_scripted(**OMNICHANNEL), make_message(recipient=RECIPIENT)
    failures = []
    for result, code in table:
        provider.answer(200, json.dumps({"messages": [result]}).encode())
        error = outcome(m2m, message)
        if (type(error), error.code) != (Rejected, code):
            failures.append((result, error))
    assert not failures


def test_success_is_accepted_even_without_a_valid_id(make_scripted, make_message, provider):
    table = [
        (b'{"messages": [{"internal_id": "a-1", "error_code": 0}]}', "a-1"),
        (b'{"messages": [{"internal_id": 12345678901234567890}]}', "12345678901234567890"),
        (b'{"messages": [{"internal_id": null, "error_code": null}]}', None),
        (b'{"messages": ["?"]}', None),
        (b'{"messages": []}', None),
        (b'{"messages": {}}', None),
        (b'{"messages": [{"internal_id"', None),
        (b"[]", None),
        (b"", None),
    ]
    m2m, message = make_scripted(**OMNICHANNEL), make_message(recipient=RECIPIENT)
    failures = []
    for body, message_id in table:
        provider.answer(200, body)
        accepted = m2m.send(message)
        if (accepted.provider_message_id, accepted.code) != (message_id, "200"):
            failures.append((body, accepted))
    assert not failures


def test_status_other_than_2xx_is_classified(make_scripted, make_message, provider):
    table: dict[int, type] = {
        302: Misconfigured,
        400: Rejected,
        401: Misconfigured,
        403: Misconfigured,
        429: Unavailable,
        500: Unavailable,
        503: Unavailable,
    }
    m2m, message = make_scripted(**OMNICHANNEL), make_message(recipient=RECIPIENT)
    failures = []
    for status, kind in table.items():
        provider.answer(status, b'{"code": 7, "message": "because"}')
        error = outcome(m2m, message)
        if (type(error), error.code, error.detail) != (kind, str(status), "because"):
            failures.append((status, error))
    assert not failures


# Polling


def test_every_status_becomes_a_receipt(make_scripted, provider):
    m2m = make_scripted(**OMNICHANNEL)
    table: list[tuple[int | str | None, str]] = [
        (200, "sent"),
        (201, "failed"),
        (202, "sent"),
        (300, "delivered"),
        (301, "bounced"),
        (302, "sent"),
        (999, "unrecognised"),
        ("300", "delivered"),
        (None, "unrecognised"),
    ]
    failures = []
    for status, kind in table:
        event = {
            "status": status,
            "event_at": "2026-11-22T12:00:00Z",
            "internal_id": "77",
            "message_id": "018f-uid-1",
            "destination": "79161234567",
            "internal_errors": [4, 5],
        }
        body = {"events_info": [{"key": "77", "events_info": [event]}]}
        provider.answer(200, json.dumps(body).encode())
        [receipt] = m2m.poll(sent("77"))
        if (receipt.kind, receipt.code) != (kind, str(status)):
            failures.append(receipt)
        assert receipt.key == f"77:{status}:2026-11-22T12:00:00Z"
        assert (receipt.provider_message_id, receipt.message_uid) == ("77", "018f-uid-1")
        assert receipt.recipient == RECIPIENT
        assert receipt.detail == "internal errors: [4, 5]"
        assert receipt.occurred_at == datetime(2026, 11, 22, 12, tzinfo=UTC)
    assert not failures
    assert json.loads(provider.received[0].body) == {"int_ids": ["77"]}
    assert provider.received[0].path == "/mts/messages/info"


def test_incomplete_status_entries_are_skipped(make_scripted, provider):
    table: list[tuple[list[Any], list[str]]] = [
        ([], []),
        ([{"key": "77", "events_info": []}], []),
        ([{"key": "77", "events_info": None}], []),
        ([{"key": "77", "events_info": [{"status": 300}]}], ["77"]),
        ([{"key": 77, "events_info": [{"status": 300, "internal_id": 78}]}], ["78"]),
        ([{"events_info": [{"status": 300}]}], []),
        (["?", {"key": "77", "events_info": ["?", {"status": 300}]}], ["77"]),
    ]
    m2m = make_scripted(**OMNICHANNEL)
    failures = []
    for groups, ids in table:
        provider.answer(200, json.dumps({"events_info": groups}).encode())
        receipts = m2m.poll(sent("77"))
        if [receipt.provider_message_id for receipt in receipts] != ids:
            failures.append((groups, receipts))
    assert not failures


def test_failed_poll_raises_the_error_of_its_response(make_scripted, provider):
    table: list[tuple[int, bytes, type, str]] = [
        (401, b'{"message": "no"}', Misconfigured, "401"),
        (503, b"", Unavailable, "503"),
        (200, b"", Unavailable, "invalid_response"),
        (200, b'{"events_info": {}}', Unavailable, "invalid_response"),
    ]
    m2m = make_scripted(**OMNICHANNEL)
    failures = []
    for status, body, kind, code in table:
        provider.answer(status, body)
        error = poll(m2m, "77")
        if not isinstance(error, kind) or error.code != code:  # type: ignore[attr-defined]
            failures.append((status, body, error))
    assert not failures
