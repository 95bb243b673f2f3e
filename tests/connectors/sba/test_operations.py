from typing import Any

from connectors.base import Rejected
from tests.connectors.sba.payments import REGISTER, RETURN_URL, payload_for, payment
from tests.connectors.sending import outcome


def test_invalid_operation_is_rejected_before_it_is_sent(scripted, provider):
    table: list[tuple[Any, str]] = [
        ("register", "payload_invalid"),
        ([REGISTER], "payload_invalid"),
        ({}, "operation_unknown"),
        ({"operation": "getBindings"}, "operation_unknown"),
        ({"operation": ["register"]}, "operation_unknown"),
        ({**REGISTER, "amount": None}, "parameter_invalid"),
        ({**REGISTER, "amount": "19900"}, "parameter_invalid"),
        ({**REGISTER, "amount": 199.0}, "parameter_invalid"),
        ({**REGISTER, "amount": True}, "parameter_invalid"),
        ({**REGISTER, "amount": -1}, "parameter_invalid"),
        ({**REGISTER, "amount": 10**12}, "parameter_invalid"),
        ({**REGISTER, "currency": "RUB"}, "parameter_invalid"),
        ({**REGISTER, "currency": 1643}, "parameter_invalid"),
        ({**REGISTER, "currency": True}, "parameter_invalid"),
        ({**REGISTER, "description": None}, "parameter_invalid"),
        ({"operation": "register", "amount": 1}, "parameter_missing"),
        ({"operation": "registerPreAuth", "returnUrl": RETURN_URL}, "parameter_missing"),
        ({"operation": "deposit"}, "parameter_missing"),
        ({"operation": "refund"}, "parameter_missing"),
        ({"operation": "refund", "amount": 0}, "parameter_invalid"),
        ({"operation": "reverse", "amount": 0}, "parameter_invalid"),
        ({**REGISTER, "userName": "other"}, "parameter_not_allowed"),
        ({**REGISTER, "password": "p"}, "parameter_not_allowed"),
        ({**REGISTER, "token": "t"}, "parameter_not_allowed"),
        ({**REGISTER, "orderNumber": "B-2"}, "parameter_not_allowed"),
    ]
    failures = []
    for payload, code in table:
        error = outcome(scripted[0], payment(payload))
        if not isinstance(error, Rejected) or error.code != code:
            failures.append((payload, error))
    assert not failures
    assert provider.received == []


def test_recipient_that_is_not_an_order_number_is_rejected(scripted, provider):
    for order in ("", "x" * 33):
        assert outcome(scripted[0], payment(order=order)).code == "order_number_invalid"

    assert provider.received == []


def test_whole_amount_that_is_held_can_be_deposited_with_zero(scripted, provider):
    provider.answer(200, b"{}")

    scripted[0].send(payment({**payload_for("deposit"), "amount": 0}))

    assert b"amount=0" in provider.received[0].body
