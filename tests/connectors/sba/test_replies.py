import json
from datetime import UTC, datetime, timedelta

import pytest

from connectors.base import Misconfigured, Rejected, SentMessage, Unavailable, Uncertain
from connectors.sba.replies import read_receipts
from tests.connectors.sba.payments import MONEY_OPERATIONS, ORDER_ID, payload_for, payment
from tests.connectors.sending import outcome


def test_operation_without_a_clear_answer_is_retried_unless_it_moves_money(scripted, provider):
    table: list[tuple[int, bytes, type, type]] = [
        # status, body, exception for a registration or status, exception if money may have moved
        (500, b"<h1>oops</h1>", Unavailable, Uncertain),
        (502, b'{"errorCode": "6"}', Unavailable, Uncertain),
        (503, b"", Unavailable, Uncertain),
        (504, b"", Unavailable, Uncertain),
        (429, b"", Unavailable, Uncertain),
        (408, b"", Unavailable, Uncertain),
        (200, b"", Unavailable, Uncertain),
        (200, b'{"errorCode": "0"', Unavailable, Uncertain),
        (200, b'["0"]', Unavailable, Uncertain),
        (302, b"", Misconfigured, Misconfigured),
        (401, b"who", Misconfigured, Misconfigured),
        (401, b'{"error": "Unauthorized"}', Misconfigured, Misconfigured),
        (403, b'{"error": "Forbidden"}', Misconfigured, Misconfigured),
        (404, b"", Rejected, Rejected),
    ]
    failures = []
    for status, body, repeatable, money in table:
        provider.answer(status, body)
        for sba in scripted:
            kinds = [
                type(outcome(sba, payment(payload_for(operation))))
                for operation in ("register", "status", *MONEY_OPERATIONS)
            ]
            if kinds != [repeatable, repeatable, money, money, money]:
                failures.append((status, body, kinds))
    assert not failures


def test_operation_without_any_answer_is_retried_unless_it_moves_money(scripted, provider):
    for misbehave in (provider.hang, provider.reset):
        misbehave()
        for sba in scripted:
            assert isinstance(outcome(sba, payment()), Unavailable)
        for operation in MONEY_OPERATIONS:
            assert isinstance(outcome(scripted[0], payment(payload_for(operation))), Uncertain)

    assert len(provider.received) == 2 * (2 + 3)


def test_refund_that_was_not_sent_is_retried(make_sba, tight_limits):
    sba = make_sba(url="http://127.0.0.1:1", **tight_limits)

    error = outcome(sba, payment(payload_for("refund")))

    assert (type(error), error.code) == (Unavailable, "connection_refused")


def test_refund_is_retried_if_only_the_status_request_before_it_failed(scripted, provider):
    provider.answer(503)

    error = outcome(scripted[0], payment({"operation": "refund", "amount": 100}))

    assert isinstance(error, Unavailable)
    assert "getOrderStatusExtended" in provider.received[0].path


def test_registration_without_an_order_id_is_retried(scripted, provider):
    provider.answer(200, b'{"errorCode": "0", "formUrl": "https://pay.test/"}')

    error = outcome(scripted[0], payment())

    assert (type(error), error.code) == (Unavailable, "invalid_response")


def test_wait_of_the_retry_after_header_is_used(scripted, provider):
    provider.answer(429, b"", Retry_After="120")

    error = outcome(scripted[0], payment())

    assert isinstance(error, Unavailable)
    assert error.retry_after == timedelta(seconds=120)


# The status of an order


def test_every_order_status_becomes_a_receipt():
    table: list[tuple[int | str, list[str]]] = [
        (0, []),
        (1, ["sent"]),
        (2, ["delivered"]),
        (3, ["failed"]),
        (4, ["delivered"]),
        (5, []),
        (6, ["failed"]),
        ("2", ["delivered"]),
        (7, ["unrecognised"]),
    ]
    failures = []
    for status, kinds in table:
        receipts = read_receipts(ORDER_ID, {"errorCode": "0", "orderStatus": status})
        if [receipt.kind for receipt in receipts] != kinds:
            failures.append((status, receipts))
    assert not failures


def test_response_without_an_order_status_has_no_receipt():
    assert read_receipts(ORDER_ID, {"errorCode": "0"}) == []


def test_receipt_contains_the_reason_of_a_decline_but_not_the_card():
    [receipt] = read_receipts(
        ORDER_ID,
        {
            "errorCode": "0",
            "orderStatus": 6,
            "actionCode": 116,
            "actionCodeDescription": "Not enough money",
            "cardAuthInfo": {"pan": "411111**1111", "cardholderName": "ANN"},
            "ip": "203.0.113.9",
        },
    )

    assert receipt.detail == "Not enough money"
    assert receipt.payload == {
        "orderStatus": 6,
        "actionCode": 116,
        "actionCodeDescription": "Not enough money",
    }


def test_poll_requests_the_status_by_order_id(scripted, provider):
    provider.answer(200, json.dumps({"errorCode": "0", "orderStatus": 2}).encode())
    message = SentMessage(ORDER_ID, "uid", "payment", "A-1", datetime.now(UTC))

    for sba in scripted:
        [receipt] = sba.poll([message])
        assert (receipt.kind, receipt.provider_message_id) == ("delivered", ORDER_ID)

    for received in provider.received:
        assert received.path.endswith("/getOrderStatusExtended.do")
        assert ORDER_ID.encode() in received.body
        assert b"A-1" not in received.body


def test_failed_poll_raises_the_error_of_its_response(scripted, provider):
    message = SentMessage(ORDER_ID, "uid", "payment", "A-1", datetime.now(UTC))
    for status, kind in [(503, Unavailable), (401, Misconfigured)]:
        provider.answer(status)
        with pytest.raises(kind):
            scripted[0].poll([message])
