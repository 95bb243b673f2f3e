import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors.base import Misconfigured, Rejected, SentMessage, Unavailable, Uncertain
from connectors.sba.connector import Sba
from tests.connectors.sba.conftest import APIS
from tests.connectors.sba.payments import (
    MONEY_OPERATIONS,
    ORDER_ID,
    PASSWORD,
    REGISTER,
    RETURN_URL,
    body_of,
    payment,
    reply_of,
)
from tests.connectors.sending import outcome

FORM_URL = f"https://pay.test/payment_ru.html?mdOrder={ORDER_ID}"
REGISTERED = {"orderId": ORDER_ID, "formUrl": FORM_URL}
PRE_AUTH = {**REGISTER, "operation": "registerPreAuth"}


def status_of(sba: Sba, order: str) -> dict[str, Any]:
    return reply_of(sba.send(payment({"operation": "status"}, order)))


# Requests


def test_registration_is_posted_with_the_credentials(scripted, provider):
    provider.answer(200, json.dumps(REGISTERED).encode())
    message = payment({**REGISTER, "jsonParams": {"a": "é&b"}}, "A-1")

    for sba in scripted:
        sba.send(message)

    rest, gateway = provider.received
    assert (rest.method, rest.path) == ("POST", "/payment/rest/register.do")
    assert rest.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert rest.headers["X-Idempotency-Key"] is None
    common = {
        "userName": "sandbox-api",
        "password": PASSWORD,
        "orderNumber": "A-1",
        "currency": "643",
        "returnUrl": RETURN_URL,
    }
    assert body_of(rest) == {**common, "amount": "19900", "jsonParams": '{"a":"é&b"}'}
    assert (gateway.method, gateway.path) == ("POST", "/ecomm/gw/partner/api/v1/register.do")
    assert gateway.headers["Content-Type"] == "application/json"
    assert gateway.headers["X-Idempotency-Key"] == message.uid
    assert body_of(gateway) == {**common, "amount": 19900, "jsonParams": {"a": "é&b"}}


def test_refund_without_the_order_id_fetches_it_first(scripted, provider):
    as_list = [{"name": "other", "value": "x"}, {"name": "mdOrder", "value": ORDER_ID}]
    for sba, attributes in zip(scripted, [as_list, {"mdOrder": ORDER_ID}], strict=True):
        provider.received.clear()
        provider.answer(200, json.dumps({"errorCode": "0", "attributes": attributes}).encode())

        sba.send(payment({"operation": "refund", "amount": 100}, "A-1"))

        status, refund = (body_of(received) for received in provider.received)
        assert status["orderNumber"] == "A-1"
        assert refund["orderId"] == ORDER_ID
        assert "orderNumber" not in refund


def test_refund_of_an_order_without_an_id_is_rejected(scripted, provider):
    provider.answer(200, b'{"errorCode": "0", "attributes": [{"name": "x", "value": "y"}, 1]}')

    with pytest.raises(Rejected, match=r"order_id_unknown: payload\.orderId"):
        scripted[0].send(payment({"operation": "refund", "amount": 100}))

    assert len(provider.received) == 1


def test_registration_contains_the_callback_url(make_sba, provider):
    provider.answer(200, json.dumps({**REGISTERED, "errorCode": 0}).encode())
    table: list[tuple[dict[str, Any], str | None]] = [
        (REGISTER, "https://postroom.test/hook"),
        ({**REGISTER, "dynamicCallbackUrl": "https://own.test/"}, "https://own.test/"),
        ({"operation": "status"}, None),
    ]
    failures = []
    for api in APIS:
        sba = make_sba(url=provider.url, api=api, callback_url="https://postroom.test/hook")
        for payload, url in table:
            sba.send(payment(payload))
            if body_of(provider.received[-1]).get("dynamicCallbackUrl") != url:
                failures.append((api, payload))
    assert not failures


def test_default_url_is_the_production_host(make_sba):
    assert make_sba()._base == "https://securepayments.sberbank.ru/payment/rest/"
    gateway = make_sba(api="gateway")
    assert gateway._base == "https://ecommerce.sberbank.ru/ecomm/gw/partner/api/v1/"


def test_deadline_allows_two_requests(make_sba):
    assert make_sba(total_timeout_seconds=20).send_timeout == timedelta(seconds=40)


def test_agents_hold_uncertain_messages_and_poll():
    assert Sba.on_uncertain == "hold"
    assert Sba.can_poll


# Operations at the simulated bank


def test_registration_returns_the_order_id_and_the_payment_page(simulated, doubles):
    for payload in (REGISTER, PRE_AUTH):
        message = payment(payload)

        accepted = simulated.send(message)

        reply = reply_of(accepted)
        assert accepted.provider_message_id == reply["orderId"]
        assert accepted.provider_message_id in reply["formUrl"]
        assert (accepted.code, accepted.reply.status) == ("0", 200)
        assert accepted.reply.content_type == "application/json"
        [record] = doubles.received(to=message.recipient)
        assert record["method"] == f"{payload['operation']}.do"
        given = json.loads(record["content"])
        assert (str(given["amount"]), given["currency"]) == ("19900", "643")


def test_one_stage_order_is_paid_and_refunded_in_parts(simulated, pay):
    order = payment().recipient
    order_id = simulated.send(payment(order=order)).provider_message_id
    assert pay(order) == 2

    for amount in (9900, 10000):
        refund = {"operation": "refund", "orderId": order_id, "amount": amount}
        accepted = simulated.send(payment(refund, order))
        assert (accepted.provider_message_id, accepted.code) == (None, "0")

    status = status_of(simulated, order)
    assert status["orderStatus"] == 4
    assert status["paymentAmountInfo"]["refundedAmount"] == 19900


def test_two_stage_order_is_held_then_deposited_or_reversed(simulated, pay):
    deposited, reversed_ = payment(PRE_AUTH), payment(PRE_AUTH)
    for registration in (deposited, reversed_):
        simulated.send(registration)
        assert pay(registration.recipient) == 1

    simulated.send(payment({"operation": "deposit", "amount": 15000}, deposited.recipient))
    simulated.send(payment({"operation": "reverse"}, reversed_.recipient))

    status = status_of(simulated, deposited.recipient)
    assert status["orderStatus"] == 2
    assert status["paymentAmountInfo"]["depositedAmount"] == 15000
    assert status_of(simulated, reversed_.recipient)["orderStatus"] == 3


def test_status_is_found_by_order_number_or_by_order_id(simulated):
    order = payment().recipient
    order_id = simulated.send(payment(order=order)).provider_message_id

    by_id = simulated.send(payment({"operation": "status", "orderId": order_id, "language": "en"}))

    assert reply_of(by_id)["orderNumber"] == order
    assert status_of(simulated, order) == reply_of(by_id)


def test_token_replaces_user_name_and_password(make_sba, doubles):
    for api in APIS:
        valid = make_sba(url=f"{doubles.http_url}/sba/", api=api, token="sandbox-token")
        invalid = make_sba(url=f"{doubles.http_url}/sba", api=api, token="another")

        assert valid.send(payment()).provider_message_id
        with pytest.raises(Misconfigured, match="Access denied"):
            invalid.send(payment())


def test_nested_parameters_reach_both_apis(make_sba, doubles):
    bundle = {"cartItems": {"items": [{"name": "Чай", "quantity": {"value": 1.5}}]}}
    for api in APIS:
        sba = make_sba(url=f"{doubles.http_url}/sba", api=api)
        message = payment({**REGISTER, "orderBundle": bundle, "jsonParams": {"note": "ё"}})

        sba.send(message)

        [record] = doubles.received(to=message.recipient)
        given = json.loads(record["content"])["orderBundle"]
        assert (json.loads(given) if api == "rest" else given) == bundle


def test_operation_that_the_bank_rejects_has_its_code(simulated):
    table: list[tuple[dict[str, Any], str]] = [
        ({**REGISTER, "currency": 999}, "3"),
        ({**REGISTER, "returnUrl": ""}, "4"),
        ({**REGISTER, "returnUrl": "shop"}, "5"),
        ({**REGISTER, "features": "NO_SUCH"}, "13"),
        ({"operation": "status"}, "6"),
        ({"operation": "refund", "orderId": ORDER_ID, "amount": 100}, "6"),
        ({"operation": "refund", "amount": 100}, "6"),
    ]
    failures = []
    for payload, code in table:
        error = outcome(simulated, payment(payload))
        if not isinstance(error, Rejected) or error.code != code:
            failures.append((payload, error))
    assert not failures


def test_refund_of_more_than_was_paid_is_rejected(simulated, pay):
    order = payment().recipient
    simulated.send(payment(order=order))
    refund = payment({"operation": "refund", "amount": 20000}, order)

    with pytest.raises(Rejected, match=r"^7: "):
        simulated.send(refund)
    pay(order)
    with pytest.raises(Rejected, match=r"^5: Wrong amount"):
        simulated.send(refund)


# Repetition


def test_registration_whose_answer_was_lost_is_found_again(simulated, doubles):
    message = payment()
    doubles.control(message.recipient, {"drop": "after"}, kind="sba", times=1)

    with pytest.raises(Unavailable):
        simulated.send(message)
    again = simulated.send(message)

    assert again.code == "1"
    assert "registered before" in again.detail
    [first, _] = doubles.received(to=message.recipient)
    assert again.provider_message_id == first["order_id"]
    assert reply_of(again)["orderStatus"] == 0


def test_order_with_the_same_number_but_another_amount_is_rejected(simulated):
    message = payment()
    simulated.send(message)

    with pytest.raises(Rejected, match=r"^1: .*registered before"):
        simulated.send(payment({**REGISTER, "amount": 100}, message.recipient))


def test_money_operation_whose_answer_was_lost_is_uncertain_and_executed_once(
    simulated, doubles, pay
):
    for operation in MONEY_OPERATIONS:
        registration = payment(REGISTER if operation == "refund" else PRE_AUTH)
        order = registration.recipient
        order_id = simulated.send(registration).provider_message_id
        pay(order)
        doubles.control(order, {"drop": "after"}, kind="sba", times=1)

        with pytest.raises(Uncertain):
            simulated.send(
                payment({"operation": operation, "orderId": order_id, "amount": 100}, order)
            )

        made = [record for record in doubles.received(to=order) if operation in record["method"]]
        assert len(made) == 1


# Polling


def sent(order: str, order_id: str | None) -> SentMessage:
    assert order_id is not None
    return SentMessage(order_id, "uid", "payment", order, datetime.now(UTC))


def test_poll_reports_what_the_customer_did(simulated, pay):
    table = [
        (REGISTER, "paid", "delivered", "deposited"),
        (REGISTER, "declined", "failed", "declined"),
        (REGISTER, "expired", "failed", "declined"),
        (PRE_AUTH, "paid", "sent", "approved"),
    ]
    for payload, action, kind, code in table:
        registration = payment(payload)
        order = registration.recipient
        message = sent(order, simulated.send(registration).provider_message_id)
        assert simulated.poll([message]) == []

        pay(order, action)
        [receipt] = simulated.poll([message])

        assert (receipt.kind, receipt.code) == (kind, code)
        assert receipt.provider_message_id == message.provider_message_id
        assert receipt.payload["amount"] == 19900


def test_poll_reports_what_later_operations_did_to_the_order(simulated, pay):
    table = [
        (REGISTER, "refund", "delivered", "refunded"),
        (PRE_AUTH, "deposit", "delivered", "deposited"),
        (PRE_AUTH, "reverse", "failed", "reversed"),
    ]
    for payload, operation, kind, code in table:
        registration = payment(payload)
        order = registration.recipient
        message = sent(order, simulated.send(registration).provider_message_id)
        pay(order)
        before = simulated.poll([message])

        simulated.send(payment({"operation": operation, "amount": 19900}, order))
        [after] = simulated.poll([message])

        assert (after.kind, after.code) == (kind, code)
        assert after.key not in {receipt.key for receipt in before}
        assert simulated.poll([message]) == [after]


def test_order_that_the_bank_does_not_know_is_skipped(simulated, pay):
    registration = payment()
    message = sent(registration.recipient, simulated.send(registration).provider_message_id)
    pay(registration.recipient)

    receipts = simulated.poll([sent("A-1", "no-such"), message])

    assert [receipt.provider_message_id for receipt in receipts] == [message.provider_message_id]
