import json
from datetime import UTC, datetime
from typing import Any

import pytest

from connectors.base import Misconfigured, Receipt, SentMessage, Unavailable
from connectors.sba.connector import Sba
from tests.connectors.sba.payments import ORDER_ID, REGISTER, body_of, payment


def sent(order: str, order_id: str) -> SentMessage:
    return SentMessage(order_id, "uid", "payment", order, datetime.now(UTC))


def registered(bank: Sba, operation: str = "register") -> SentMessage:
    message = payment({**REGISTER, "operation": operation})
    order_id = bank.send(message).provider_message_id
    assert order_id is not None
    return sent(message.recipient, order_id)


def test_the_bank_is_asked_since_it_may_not_call():
    assert Sba.can_poll is True


@pytest.mark.parametrize(
    ("operation", "outcome", "kind", "code"),
    [
        ("register", "paid", "delivered", "deposited"),
        ("register", "declined", "failed", "declined"),
        ("register", "expired", "failed", "declined"),
        ("registerPreAuth", "paid", "sent", "approved"),
    ],
)
def test_what_became_of_an_order_is_asked(bank, pay, operation, outcome, kind, code):
    message = registered(bank, operation)
    assert bank.poll([message]) == []

    pay(message.recipient, outcome)
    [receipt] = bank.poll([message])

    assert (receipt.kind, receipt.code) == (kind, code)
    assert receipt.provider_message_id == message.provider_message_id
    assert receipt.payload["amount"] == 19900


@pytest.mark.parametrize(
    ("register", "move", "kind", "code"),
    [
        ("register", "refund", "delivered", "refunded"),
        ("registerPreAuth", "deposit", "delivered", "deposited"),
        ("registerPreAuth", "reverse", "failed", "reversed"),
    ],
)
def test_what_we_made_of_an_order_is_told_of_its_registration(
    bank, pay, register, move, kind, code
):
    message = registered(bank, register)
    pay(message.recipient)
    before = bank.poll([message])

    bank.send(payment({"operation": move, "amount": 19900}, message.recipient))
    [after] = bank.poll([message])

    assert (after.kind, after.code) == (kind, code)
    assert after.key not in {receipt.key for receipt in before}
    assert bank.poll([message]) == [after]


def test_an_order_that_the_bank_does_not_know_is_passed_over(bank, pay):
    message = registered(bank)
    pay(message.recipient)

    receipts = bank.poll([sent("A-1", "no-such"), message])

    assert [receipt.provider_message_id for receipt in receipts] == [message.provider_message_id]


def polled(sba: Sba, provider: Any, **fields: Any) -> list[Receipt]:
    provider.answer(200, json.dumps({"errorCode": "0", **fields}).encode())
    return sba.poll([sent("A-1", ORDER_ID)])


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (0, None),
        (1, "sent"),
        (2, "delivered"),
        (3, "failed"),
        (4, "delivered"),
        (5, None),
        (6, "failed"),
        ("2", "delivered"),
        (7, "unrecognised"),
    ],
)
def test_every_state_of_an_order_as_a_receipt(scripted, provider, api, status, kind):
    receipts = polled(scripted, provider, orderStatus=status)

    assert [receipt.kind for receipt in receipts] == ([kind] if kind else [])
    [asked] = provider.received
    assert asked.path.endswith("/getOrderStatusExtended.do")
    assert body_of(asked, api)["orderId"] == ORDER_ID


def test_a_reply_without_a_state_says_nothing(scripted, provider):
    assert polled(scripted, provider) == []


def test_the_reason_of_a_decline_is_told_and_the_card_is_not(scripted, provider):
    [receipt] = polled(
        scripted,
        provider,
        orderStatus=6,
        actionCode=116,
        actionCodeDescription="Not enough money",
        cardAuthInfo={"pan": "411111**1111", "cardholderName": "ANN"},
        ip="203.0.113.9",
    )

    assert receipt.detail == "Not enough money"
    assert receipt.payload == {
        "orderStatus": 6,
        "actionCode": 116,
        "actionCodeDescription": "Not enough money",
    }


@pytest.mark.parametrize(("status", "error"), [(503, Unavailable), (401, Misconfigured)])
def test_a_bank_that_cannot_be_asked_says_so(scripted, provider, status, error):
    provider.answer(status)

    with pytest.raises(error):
        scripted.poll([sent("A-1", ORDER_ID)])
