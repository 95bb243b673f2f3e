import json
from collections import Counter
from typing import Any

from connectors.base import Misconfigured, Rejected, Unavailable, Uncertain
from connectors.sba.connector import Sba
from tests.connectors.sba.payments import payload_for, payment
from tests.connectors.sending import outcome

TABLE: list[tuple[str, str, str, type]] = [
    # code, operation, text, exception
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
    ("5", "refund", "Доступ запрещен", Rejected),
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
    ("99", "refund", "An error without a row", Rejected),
]


def test_every_error_is_classified_by_code_operation_and_text(scripted, provider):
    tested = Counter((code, kind) for code, _, _, kind in TABLE)
    assert Counter((error.code, error.outcome) for error in Sba.errors) <= tested
    failures = []
    for code, operation, text, kind in TABLE:
        body: dict[str, Any] = {"errorCode": code, "errorMessage": text}
        if code == "not_successful":
            body = {"success": False, "errorMessage": text}
        provider.answer(200, json.dumps(body).encode())
        for sba in scripted:
            error = outcome(sba, payment(payload_for(operation)))
            if (type(error), error.code, error.detail) != (kind, code, text):
                failures.append((code, operation, text, error))
    assert not failures


def test_error_is_found_in_every_form(scripted, provider):
    text = "No order"
    table: list[tuple[dict[str, Any], str]] = [
        ({"errorCode": "6", "errorMessage": text}, "6"),
        ({"errorCode": 6, "errorMessage": text}, "6"),
        ({"ErrorCode": "6", "ErrorMessage": text}, "6"),
        ({"error": {"code": 6, "description": text, "message": "x"}}, "6"),
        ({"error": {"code": "6", "message": text}, "success": False}, "6"),
        ({"errorCode": "0", "success": False, "errorMessage": text}, "not_successful"),
        ({"errorCode": "0", "error": {"message": text}}, "not_successful"),
        ({"error": text}, "not_successful"),
        ({"errorCode": "99", "errorMessage": text}, "99"),
    ]
    failures = []
    for body, code in table:
        for status in (200, 400):
            provider.answer(status, json.dumps(body).encode())
            error = outcome(scripted[0], payment(payload_for("refund")))
            if (type(error), error.code, error.detail) != (Rejected, code, text):
                failures.append((status, body, error))
    assert not failures


def test_success_is_found_in_every_form(scripted, provider):
    bodies: list[dict[str, Any]] = [
        {"errorCode": "0"},
        {"errorCode": 0},
        {"errorCode": "", "errorMessage": ""},
        {"ErrorCode": "0", "ErrorMessage": "Success"},
        {"success": True, "errorCode": None},
        {},
    ]
    for body in bodies:
        provider.answer(200, json.dumps(body).encode())
        assert scripted[0].send(payment(payload_for("refund"))).code == "0"


def test_error_contains_no_secret_order_or_content(scripted, provider):
    bundle = {"customerDetails": {"email": "ann@example.org"}, "items": ["a red chair"]}
    payload = {**payload_for("register"), "orderBundle": bundle, "description": "for Ann"}
    text = "5 not: sandbox-api sandbox-password ORDER-17 ann@example.org a red chair, for Ann"
    body = json.dumps({"errorCode": "5", "errorMessage": text}).encode()
    failures = []
    for status in (200, 400, 503):
        provider.answer(status, body)
        for sba in scripted:
            error = outcome(sba, payment(payload, "ORDER-17"))
            if "5 not: *** *** *** *** ***, ***" not in error.detail:
                failures.append((status, error))
    assert not failures
