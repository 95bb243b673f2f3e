import pytest

from connectors.base import OutboundMessage, Rejected
from tests.connectors.sba.payments import REGISTER, RETURN_URL, payload_for, payment


@pytest.mark.parametrize(
    ("payload", "code"),
    [
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
    ],
)
def test_a_payload_that_is_no_operation_is_refused(scripted, provider, payload, code):
    with pytest.raises(Rejected) as raised:
        scripted.send(payment(payload))

    assert raised.value.code == code
    assert provider.received == []


@pytest.mark.parametrize("order", ["", "x" * 33])
def test_a_recipient_that_is_no_order_number_is_refused(scripted, provider, order):
    message = OutboundMessage(id=1, uid="u", channel="payment", recipient=order, payload=REGISTER)

    with pytest.raises(Rejected, match="order_number_invalid"):
        scripted.send(message)
    assert provider.received == []


def test_all_that_is_held_may_be_deposited_with_zero(scripted, provider):
    provider.answer(200, b"{}")

    scripted.send(payment({**payload_for("deposit"), "amount": 0}))

    assert b"amount" in provider.received[0].body
