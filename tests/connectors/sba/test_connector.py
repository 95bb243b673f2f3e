import json
from datetime import timedelta
from typing import Any

import pytest

from connectors.base import (
    Misconfigured,
    Rejected,
    Unavailable,
    Uncertain,
)
from connectors.sba.connector import Sba
from tests.connectors.sba.payments import (
    MOVES,
    ORDER_ID,
    PASSWORD,
    REGISTER,
    RETURN_URL,
    body_of,
    payment,
    replied,
)

FORM_URL = f"https://pay.test/payment_ru.html?mdOrder={ORDER_ID}"
REGISTERED = {"orderId": ORDER_ID, "formUrl": FORM_URL}


def status_of(bank: Sba, order: str) -> dict[str, Any]:
    return replied(bank.send(payment({"operation": "status"}, order)))


# Operations, at both doors of the simulated bank


@pytest.mark.parametrize("operation", ["register", "registerPreAuth"])
def test_a_registration_gives_the_order_its_id_and_keeps_the_page_to_pay_at(
    bank, sandbox, operation
):
    message = payment({**REGISTER, "operation": operation})

    accepted = bank.send(message)

    reply = replied(accepted)
    assert accepted.provider_message_id == reply["orderId"]
    assert accepted.provider_message_id in reply["formUrl"]
    assert (accepted.code, accepted.reply.status) == ("0", 200)
    assert accepted.reply.content_type == "application/json"
    [record] = sandbox.received(to=message.recipient)
    assert record["method"] == f"{operation}.do"
    given = json.loads(record["content"])
    assert (str(given["amount"]), given["currency"]) == ("19900", "643")


def test_an_order_of_one_stage_is_paid_and_refunded_in_parts(bank, pay):
    order = payment().recipient
    order_id = bank.send(payment(order=order)).provider_message_id
    assert pay(order) == 2

    for amount in (9900, 10000):
        refund = {"operation": "refund", "orderId": order_id, "amount": amount}
        accepted = bank.send(payment(refund, order))
        assert (accepted.provider_message_id, accepted.code) == (None, "0")

    status = status_of(bank, order)
    assert status["orderStatus"] == 4
    assert status["paymentAmountInfo"]["refundedAmount"] == 19900


def test_an_order_of_two_stages_is_held_then_deposited(bank, pay):
    order = payment().recipient
    bank.send(payment({**REGISTER, "operation": "registerPreAuth"}, order))
    assert pay(order) == 1

    bank.send(payment({"operation": "deposit", "amount": 15000}, order))

    status = status_of(bank, order)
    assert status["orderStatus"] == 2
    assert status["paymentAmountInfo"]["depositedAmount"] == 15000


def test_an_order_of_two_stages_is_held_then_let_go(bank, pay):
    order = payment().recipient
    bank.send(payment({**REGISTER, "operation": "registerPreAuth"}, order))
    pay(order)

    bank.send(payment({"operation": "reverse"}, order))

    assert status_of(bank, order)["orderStatus"] == 3


def test_a_status_is_asked_by_number_or_by_id(bank):
    order = payment().recipient
    order_id = bank.send(payment(order=order)).provider_message_id

    by_id = bank.send(payment({"operation": "status", "orderId": order_id, "language": "en"}))

    assert replied(by_id)["orderNumber"] == order
    assert status_of(bank, order) == replied(by_id)


def test_a_token_serves_in_place_of_name_and_password(make_sba, sandbox, api):
    bank = make_sba(url=f"{sandbox.http_url}/sba/", api=api, token="sandbox-token")

    assert bank.send(payment()).provider_message_id


def test_wrong_credentials_stop_the_agent(make_sba, sandbox, api):
    bank = make_sba(url=f"{sandbox.http_url}/sba", api=api, token="another")

    with pytest.raises(Misconfigured, match="Access denied"):
        bank.send(payment())


def test_objects_reach_the_bank_as_objects_whatever_the_door(bank, sandbox, api):
    bundle = {"cartItems": {"items": [{"name": "Чай", "quantity": {"value": 1.5}}]}}
    message = payment({**REGISTER, "orderBundle": bundle, "jsonParams": {"note": "ё"}})

    bank.send(message)

    [record] = sandbox.received(to=message.recipient)
    given = json.loads(record["content"])["orderBundle"]
    assert (json.loads(given) if api == "rest" else given) == bundle


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({**REGISTER, "currency": 999}, "3"),
        ({**REGISTER, "returnUrl": ""}, "4"),
        ({**REGISTER, "returnUrl": "shop"}, "5"),
        ({**REGISTER, "features": "NO_SUCH"}, "13"),
        ({"operation": "status"}, "6"),
        ({"operation": "refund", "orderId": ORDER_ID, "amount": 100}, "6"),
        ({"operation": "refund", "amount": 100}, "6"),
    ],
)
def test_what_the_bank_refuses_is_refused_for_good_with_its_code(bank, payload, code):
    with pytest.raises(Rejected) as raised:
        bank.send(payment(payload))

    assert raised.value.code == code


def test_money_that_is_not_there_is_not_refunded(bank, pay):
    order = payment().recipient
    bank.send(payment(order=order))
    refund = payment({"operation": "refund", "amount": 20000}, order)

    with pytest.raises(Rejected, match=r"^7: "):
        bank.send(refund)
    pay(order)
    with pytest.raises(Rejected, match=r"^5: Wrong amount"):
        bank.send(refund)


# What is asked twice


def test_a_registration_whose_answer_was_lost_is_found_again(make_sba, sandbox, api):
    bank = make_sba(url=f"{sandbox.http_url}/sba", api=api)
    message = payment()
    sandbox.control(message.recipient, {"drop": "after"}, kind="sba", times=1)

    with pytest.raises(Unavailable):
        bank.send(message)
    again = bank.send(message)

    assert again.code == "1"
    assert "registered before" in again.detail
    [first, _] = sandbox.received(to=message.recipient)
    assert again.provider_message_id == first["order_id"]
    assert replied(again)["orderStatus"] == 0


def test_the_number_of_another_order_is_not_taken_for_ours(bank):
    message = payment()
    bank.send(message)

    with pytest.raises(Rejected, match=r"^1: .*registered before"):
        bank.send(payment({**REGISTER, "amount": 100}, message.recipient))


@pytest.mark.parametrize("operation", MOVES)
def test_a_move_whose_answer_was_lost_is_uncertain_and_was_made_once(bank, sandbox, pay, operation):
    order = payment().recipient
    register = "register" if operation == "refund" else "registerPreAuth"
    order_id = bank.send(payment({**REGISTER, "operation": register}, order)).provider_message_id
    pay(order)
    sandbox.control(order, {"drop": "after"}, kind="sba", times=1)

    with pytest.raises(Uncertain):
        bank.send(payment({"operation": operation, "orderId": order_id, "amount": 100}, order))

    made = [record for record in sandbox.received(to=order) if operation in record["method"]]
    assert len(made) == 1


def test_agents_hold_what_is_uncertain():
    assert Sba.on_uncertain == "hold"


# What goes over the wire


def test_a_registration_as_the_bank_wants_it(scripted, provider, api):
    provider.answer(200, json.dumps(REGISTERED).encode())
    message = payment({**REGISTER, "jsonParams": {"a": "é&b"}}, "A-1")

    scripted.send(message)

    [received] = provider.received
    expected = {
        "rest": ("/payment/rest/register.do", "application/x-www-form-urlencoded"),
        "gateway": ("/ecomm/gw/partner/api/v1/register.do", "application/json"),
    }[api]
    assert (received.path, received.headers["Content-Type"]) == expected
    assert received.method == "POST"
    assert body_of(received, api) == {
        "userName": "sandbox-api",
        "password": PASSWORD,
        "orderNumber": "A-1",
        "amount": "19900" if api == "rest" else 19900,
        "currency": "643",
        "returnUrl": RETURN_URL,
        "jsonParams": '{"a":"é&b"}' if api == "rest" else {"a": "é&b"},
    }
    key = message.uid if api == "gateway" else None
    assert received.headers["X-Idempotency-Key"] == key


def test_a_refund_without_the_id_asks_for_it_first(scripted, provider, api):
    attributes: Any = {"mdOrder": ORDER_ID}
    if api == "rest":
        attributes = [{"name": "other", "value": "x"}, {"name": "mdOrder", "value": ORDER_ID}]
    provider.answer(200, json.dumps({"errorCode": "0", "attributes": attributes}).encode())

    scripted.send(payment({"operation": "refund", "amount": 100}, "A-1"))

    [asked, refunded] = (body_of(received, api) for received in provider.received)
    assert asked["orderNumber"] == "A-1"
    assert refunded["orderId"] == ORDER_ID
    assert "orderNumber" not in refunded


def test_a_refund_of_an_order_without_an_id_is_not_made(scripted, provider):
    provider.answer(200, b'{"errorCode": "0", "attributes": [{"name": "x", "value": "y"}, 1]}')

    with pytest.raises(Rejected, match="order_id_unknown"):
        scripted.send(payment({"operation": "refund", "amount": 100}))
    assert len(provider.received) == 1


@pytest.mark.parametrize(
    ("payload", "sent"),
    [
        (REGISTER, "https://postroom.test/hook"),
        ({**REGISTER, "dynamicCallbackUrl": "https://own.test/"}, "https://own.test/"),
        ({"operation": "status"}, None),
    ],
)
def test_a_registration_says_where_to_report(make_sba, provider, api, payload, sent):
    provider.answer(200, json.dumps({**REGISTERED, "errorCode": 0}).encode())
    sba = make_sba(url=provider.url, api=api, callback_url="https://postroom.test/hook")

    sba.send(payment(payload))

    assert body_of(provider.received[0], api).get("dynamicCallbackUrl") == sent


def test_production_is_where_it_goes_unless_told_otherwise(make_sba):
    assert make_sba()._base == "https://securepayments.sberbank.ru/payment/rest/"
    gateway = make_sba(api="gateway")
    assert gateway._base == "https://ecommerce.sberbank.ru/ecomm/gw/partner/api/v1/"


def test_a_send_may_take_two_requests(make_sba):
    assert make_sba(total_timeout_seconds=20).deadline == timedelta(seconds=40)
