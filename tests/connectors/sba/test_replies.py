import json
from collections import Counter
from datetime import timedelta

import pytest

from connectors.base import (
    Misconfigured,
    Rejected,
    SendError,
    Unavailable,
    Uncertain,
)
from connectors.sba.connector import Sba
from tests.connectors.sba.payments import MOVES, REGISTER, payload_for, payment

CASES = [
    ("1", "register", "Заказ с таким номером уже обработан", Rejected),
    ("1", "status", "Expected [orderId] or [orderNumber]", Rejected),
    ("3", "register", "Unknown currency", Rejected),
    ("4", "registerPreAuth", "[amount] is empty", Rejected),
    ("5", "register", "The user must change the password", Misconfigured),
    ("5", "refund", "Пользователь должен сменить свой пароль", Misconfigured),
    ("5", "status", "The user is disabled", Misconfigured),
    ("5", "register", "Доступ запрещён", Misconfigured),
    ("5", "registerPreAuth", "Access denied", Misconfigured),
    ("5", "register", "Wrong value of a parameter", Rejected),
    ("5", "deposit", "Access denied", Rejected),
    ("5", "refund", "Incorrect amount", Rejected),
    ("6", "reverse", "Wrong order number", Rejected),
    ("7", "register", "System error", Unavailable),
    ("7", "status", "Системная ошибка", Unavailable),
    ("7", "deposit", "System error", Uncertain),
    ("7", "reverse", "Системная ошибка", Uncertain),
    ("7", "refund", "Payment must be in the correct state", Rejected),
    ("7", "refund", "Invalid refund amount (less than one rouble)", Rejected),
    ("13", "register", "Unknown feature", Rejected),
    ("14", "registerPreAuth", "Features exclude each other", Rejected),
    ("not_successful", "refund", "Failed", Rejected),
    ("99", "refund", "What no table knows", Rejected),
]


def test_every_row_of_the_table_is_tried():
    tried = Counter((code, outcome) for code, _, _, outcome in CASES)

    assert Counter((row.code, row.outcome) for row in Sba.errors) <= tried


@pytest.mark.parametrize(("code", "operation", "text", "outcome"), CASES)
def test_an_error_code_means_what_the_table_says(
    scripted, provider, code, operation, text, outcome
):
    body = {"errorCode": code, "errorMessage": text}
    if code == "not_successful":
        body = {"success": False, "errorMessage": text}
    provider.answer(200, json.dumps(body).encode())

    with pytest.raises(outcome) as raised:
        scripted.send(payment(payload_for(operation)))

    assert (raised.value.code, raised.value.detail) == (code, text)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"errorCode": "6", "errorMessage": "No order"}, "6"),
        ({"errorCode": 6, "errorMessage": "No order"}, "6"),
        ({"ErrorCode": "6", "ErrorMessage": "No order"}, "6"),
        ({"error": {"code": 6, "description": "No order", "message": "x"}}, "6"),
        ({"error": {"code": "6", "message": "No order"}, "success": False}, "6"),
        ({"errorCode": "0", "success": False, "errorMessage": "No order"}, "not_successful"),
        ({"errorCode": "0", "error": {"message": "No order"}}, "not_successful"),
        ({"error": "No order"}, "not_successful"),
        ({"errorCode": "99", "errorMessage": "No order"}, "99"),
    ],
)
@pytest.mark.parametrize("status", [200, 400])
def test_an_error_is_found_however_it_is_spelt(scripted, provider, body, code, status):
    provider.answer(status, json.dumps(body).encode())

    with pytest.raises(Rejected) as raised:
        scripted.send(payment(payload_for("refund")))

    assert (raised.value.code, raised.value.detail) == (code, "No order")


@pytest.mark.parametrize(
    "body",
    [
        {"errorCode": "0"},
        {"errorCode": 0},
        {"errorCode": "", "errorMessage": ""},
        {"ErrorCode": "0", "ErrorMessage": "Success"},
        {"success": True, "errorCode": None},
        {},
    ],
)
def test_a_success_is_found_however_it_is_spelt(scripted, provider, body):
    provider.answer(200, json.dumps(body).encode())

    assert scripted.send(payment(payload_for("refund"))).code == "0"


@pytest.mark.parametrize("text", ["Access denied", "Доступ запрещен"])
def test_access_denied_to_a_refund_stops_no_registrations(scripted, provider, text):
    provider.answer(200, json.dumps({"errorCode": "5", "errorMessage": text}).encode())

    with pytest.raises(Rejected):
        scripted.send(payment(payload_for("refund")))
    with pytest.raises(Misconfigured):
        scripted.send(payment())


@pytest.mark.parametrize(
    ("status", "body", "registration", "move"),
    [
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
    ],
)
def test_an_answer_that_is_not_clear_is_asked_again_but_for_money(
    scripted, provider, status, body, registration, move
):
    provider.answer(status, body)

    with pytest.raises(registration):
        scripted.send(payment())
    with pytest.raises(Unavailable if registration is Unavailable else registration):
        scripted.send(payment({"operation": "status"}))
    for operation in MOVES:
        with pytest.raises(move):
            scripted.send(payment(payload_for(operation)))


@pytest.mark.parametrize("misbehaviour", ["hang", "reset"])
def test_no_answer_is_asked_again_but_for_money(scripted, provider, misbehaviour):
    getattr(provider, misbehaviour)()

    with pytest.raises(Unavailable):
        scripted.send(payment())
    for operation in MOVES:
        with pytest.raises(Uncertain):
            scripted.send(payment(payload_for(operation)))
    assert len(provider.received) == 4


def test_a_refund_that_was_never_sent_is_tried_again(make_sba, tight_limits):
    sba = make_sba(url="http://127.0.0.1:1", **tight_limits)

    with pytest.raises(Unavailable, match="connection_refused"):
        sba.send(payment(payload_for("refund")))


def test_a_refund_is_tried_again_where_only_the_question_before_it_failed(scripted, provider):
    provider.answer(503)

    with pytest.raises(Unavailable):
        scripted.send(payment({"operation": "refund", "amount": 100}))
    assert "getOrderStatusExtended" in provider.received[0].path


def test_a_registration_without_an_id_is_asked_again(scripted, provider):
    provider.answer(200, b'{"errorCode": "0", "formUrl": "https://pay.test/"}')

    with pytest.raises(Unavailable, match="invalid_response"):
        scripted.send(payment())


def test_the_wait_that_the_bank_asks_for_is_passed_on(scripted, provider):
    provider.answer(429, b"", Retry_After="120")

    with pytest.raises(Unavailable) as raised:
        scripted.send(payment())

    assert raised.value.retry_after == timedelta(seconds=120)


@pytest.mark.parametrize("status", [200, 400, 503])
def test_neither_secrets_nor_order_nor_content_are_in_an_error(scripted, provider, status):
    bundle = {"customerDetails": {"email": "ann@example.org"}, "items": ["a red chair"]}
    message = payment({**REGISTER, "orderBundle": bundle, "description": "for Ann"}, "ORDER-17")
    said = "5 not: sandbox-api sandbox-password ORDER-17 ann@example.org a red chair, for Ann"
    provider.answer(status, json.dumps({"errorCode": "5", "errorMessage": said}).encode())

    with pytest.raises(SendError) as raised:
        scripted.send(message)

    assert "5 not: *** *** *** *** ***, ***" in raised.value.detail
