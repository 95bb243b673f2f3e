import hashlib
import hmac
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

import pytest
import requests

from sandbox.client import RunningSandbox

REST = "/sba/payment/rest/"
GATEWAY = "/sba/ecomm/gw/partner/api/v1/"
MERCHANT = {"userName": "sandbox-api", "password": "sandbox-password"}
KEY = b"sandbox-callback-key"

Call = Callable[..., dict[str, Any]]


@pytest.fixture(params=[REST, GATEWAY])
def call(sandbox: RunningSandbox, request: pytest.FixtureRequest) -> Call:
    """Call a method of each of the two APIs and return the response."""

    def call(method: str, **parameters: Any) -> dict[str, Any]:
        given = {**MERCHANT, **parameters}
        given = {name: value for name, value in given.items() if value is not None}
        body = {"data": given} if request.param == REST else {"json": given}
        url = sandbox.http_url + request.param + method
        response = sandbox.session.post(url, timeout=30, **body)
        assert response.status_code == 200
        return {**response.json(), "code": int(response.json().get("errorCode", 0))}

    return call


@pytest.fixture
def register(call: Call) -> Call:
    """Register a valid order, with changes."""

    def register(method: str = "register.do", **changes: Any) -> dict[str, Any]:
        order = {"orderNumber": uuid4().hex, "amount": 19900, "returnUrl": "https://shop.test/"}
        return call(method, **{**order, **changes})

    return register


@pytest.fixture
def pay(sandbox: RunningSandbox) -> Callable[..., requests.Response]:
    def pay(**arguments: Any) -> requests.Response:
        return sandbox.session.post(f"{sandbox.http_url}/sba/_pay", json=arguments, timeout=30)

    return pay


def test_invalid_registrations_are_refused_with_the_banks_code(sandbox, register):
    failures = []
    for changes, code in [
        ({"password": "wrong"}, 5),
        ({"password": None}, 5),
        ({"token": "sandbox-token"}, 5),
        ({"orderNumber": None}, 4),
        ({"orderNumber": "x" * 33}, 5),
        ({"amount": None}, 4),
        ({"amount": "one"}, 5),
        ({"amount": 199.5}, 5),
        ({"amount": -1}, 5),
        ({"returnUrl": None}, 4),
        ({"returnUrl": "shop"}, 5),
        ({"dynamicCallbackUrl": "shop"}, 5),
        ({"description": "x" * 513}, 5),
        ({"jsonParams": "{"}, 5),
        ({"currency": "999"}, 3),
        ({"features": "FORCE_SSL;NO_SUCH"}, 13),
    ]:
        answer = register(**changes)
        if answer["code"] != code or "orderId" in answer:
            failures.append((changes, answer))

    assert not failures
    assert sandbox.received(kind="sba", outcome="*") == []
    number = uuid4().hex
    assert [register(orderNumber=number)["code"] for _ in range(2)] == [0, 1]


def test_changes_that_the_state_of_an_order_forbids_are_refused(call, register, pay):
    created = register()["orderId"]
    held = register("registerPreAuth.do")["orderId"]
    paid = register()["orderId"]
    assert pay(order=held).json()["orderStatus"] == 1
    assert pay(order=paid).json()["orderStatus"] == 2
    failures = []
    for method, order_id, amount, code in [
        ("deposit.do", created, 100, 7),
        ("reverse.do", created, None, 7),
        ("refund.do", created, 100, 7),
        ("refund.do", created, None, 4),
        ("refund.do", "no-such", 100, 6),
        ("refund.do", None, 100, 4),
        ("getOrderStatusExtended.do", None, None, 1),
        ("getOrderStatusExtended.do", "no-such", None, 6),
        ("deposit.do", held, 19901, 5),
        ("reverse.do", held, 19901, 5),
        ("refund.do", held, 100, 7),
        ("refund.do", paid, 99, 7),
        ("refund.do", paid, 19901, 5),
    ]:
        answer = call(method, orderId=order_id, amount=amount)
        if answer["code"] != code:
            failures.append((method, amount, answer))

    assert not failures


def test_held_amounts_are_released_or_deposited(call, register, pay):
    def status_of(order_id: str) -> dict[str, Any]:
        return call("getOrderStatusExtended.do", orderId=order_id)

    released, deposited = (register("registerPreAuth.do")["orderId"] for _ in range(2))
    for order in released, deposited:
        pay(order=order)

    for amount, state in (9900, 1), (10000, 3):
        assert call("reverse.do", orderId=released, amount=amount)["code"] == 0
        assert status_of(released)["orderStatus"] == state
    call("deposit.do", orderId=deposited, amount=0)
    assert status_of(deposited)["paymentAmountInfo"]["depositedAmount"] == 19900


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_callbacks_are_signed_and_sent_for_each_operation(
    sandbox, listener, call, register, pay, method
):
    webhook = {"url": None, "method": method}
    sandbox.session.put(f"{sandbox.http_url}/sba/_webhook", json=webhook, timeout=30)
    order_id = register("registerPreAuth.do", dynamicCallbackUrl=listener.url)["orderId"]

    pay(order=order_id)
    call("deposit.do", orderId=order_id, amount=15000)
    call("refund.do", orderId=order_id, amount=100)

    amounts = {}
    for _ in range(3):  # callbacks of different requests may overtake each other
        request = listener.next_call()
        assert request.method == method
        query = urlsplit(request.path).query if method == "GET" else request.body.decode()
        parameters = dict(parse_qsl(query))
        checksum = parameters.pop("checksum")
        signed = "".join(f"{name};{value};" for name, value in sorted(parameters.items()))
        assert checksum == hmac.new(KEY, signed.encode(), hashlib.sha256).hexdigest().upper()
        assert (parameters["mdOrder"], parameters["status"]) == (order_id, "1")
        amounts[parameters["operation"]] = parameters["amount"]
    assert amounts == {"approved": "19900", "deposited": "15000", "refunded": "100"}
