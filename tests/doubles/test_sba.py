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

Ask = Callable[..., dict[str, Any]]


@pytest.fixture(params=[REST, GATEWAY])
def door(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def call(sandbox: RunningSandbox, door: str) -> Callable[..., requests.Response]:
    """Calls a method as the bank's documentation has it at this door."""

    def _call(method: str, **parameters: Any) -> requests.Response:
        given = {**MERCHANT, **parameters}
        given = {name: value for name, value in given.items() if value is not None}
        body = {"data": given} if door == REST else {"json": given}
        return sandbox.session.post(sandbox.http_url + door + method, timeout=30, **body)

    return _call


@pytest.fixture
def ask(call: Callable[..., requests.Response]) -> Ask:
    def _ask(method: str, **parameters: Any) -> dict[str, Any]:
        response = call(method, **parameters)
        assert response.status_code == 200
        return response.json()

    return _ask


@pytest.fixture
def register(ask: Ask) -> Callable[..., dict[str, Any]]:
    """Registers an order; returns the answer."""

    def _register(method: str = "register.do", **parameters: Any) -> dict[str, Any]:
        order = {"orderNumber": uuid4().hex, "amount": 19900, "returnUrl": "https://shop.test/"}
        return ask(method, **{**order, **parameters})

    return _register


@pytest.fixture
def pay(sandbox: RunningSandbox) -> Callable[..., requests.Response]:
    def _pay(**arguments: Any) -> requests.Response:
        return sandbox.session.post(f"{sandbox.http_url}/sba/_pay", json=arguments, timeout=30)

    return _pay


@pytest.fixture
def report_to(sandbox: RunningSandbox) -> Any:
    """Sets the merchant's address for callbacks until the test is over."""
    path = f"{sandbox.http_url}/sba/_webhook"

    def _report_to(**webhook: Any) -> None:
        assert sandbox.session.put(path, json=webhook, timeout=30).status_code == 200

    yield _report_to
    _report_to(url=None)


def code_of(answer: dict[str, Any]) -> int:
    return int(answer["errorCode"])


def test_an_order_goes_from_its_registration_to_its_refund(
    ask: Ask, register: Any, pay: Any, sandbox: RunningSandbox, door: str
) -> None:
    registered = register(orderNumber=(number := uuid4().hex))
    order_id = registered["orderId"]
    assert f"/sba/payment_ru.html?mdOrder={order_id}" in registered["formUrl"]

    assert pay(order=number).json() == {"orderId": order_id, "orderStatus": 2}
    assert code_of(ask("refund.do", orderId=order_id, amount=9900)) == 0

    status = ask("getOrderStatusExtended.do", orderNumber=number)
    assert (status["orderStatus"], status["amount"]) == (4, 19900)
    assert status["paymentAmountInfo"]["refundedAmount"] == 9900
    mine = [{"name": "mdOrder", "value": order_id}] if door == REST else {"mdOrder": order_id}
    assert status["attributes"] == mine
    assert status["errorCode"] == ("0" if door == REST else 0)
    records = sandbox.received(to=number)
    assert [record["method"] for record in records] == [
        "register.do",
        "refund.do",
        "getOrderStatusExtended.do",
    ]
    assert "sandbox-password" not in str(records)


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
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
    ],
)
def test_a_registration_with_a_fault_is_refused_with_its_code(
    register: Any, sandbox: RunningSandbox, parameters: dict[str, Any], code: int
) -> None:
    answer = register(**parameters)

    assert code_of(answer) == code
    assert "orderId" not in answer
    assert sandbox.received(kind="sba", outcome="*") == []


def test_an_order_number_is_taken_only_once(register: Any) -> None:
    number = uuid4().hex

    assert "orderId" in register(orderNumber=number)
    assert code_of(register(orderNumber=number)) == 1


@pytest.mark.parametrize(
    ("method", "parameters", "code"),
    [
        ("deposit.do", {"amount": 100}, 7),
        ("reverse.do", {}, 7),
        ("refund.do", {"amount": 100}, 7),
        ("refund.do", {}, 4),
        ("refund.do", {"orderId": "no-such", "amount": 100}, 6),
        ("refund.do", {"orderId": None, "amount": 100}, 4),
        ("getOrderStatusExtended.do", {"orderId": None}, 1),
        ("getOrderStatusExtended.do", {"orderId": "no-such"}, 6),
    ],
)
def test_what_an_unpaid_order_does_not_allow_is_refused(
    ask: Ask, register: Any, method: str, parameters: dict[str, Any], code: int
) -> None:
    order_id = register()["orderId"]

    assert code_of(ask(method, **{"orderId": order_id, **parameters})) == code


@pytest.mark.parametrize(
    ("method", "parameters", "code"),
    [
        ("deposit.do", {"amount": 19901}, 5),
        ("reverse.do", {"amount": 19901}, 5),
        ("refund.do", {"amount": 100}, 7),
    ],
)
def test_what_a_held_order_does_not_allow_is_refused(
    ask: Ask, register: Any, pay: Any, method: str, parameters: dict[str, Any], code: int
) -> None:
    order_id = register("registerPreAuth.do")["orderId"]
    assert pay(order=order_id).json()["orderStatus"] == 1

    assert code_of(ask(method, orderId=order_id, **parameters)) == code


@pytest.mark.parametrize(("amount", "code"), [(99, 7), (19901, 5)])
def test_no_less_than_a_rouble_and_no_more_than_was_paid_is_refunded(
    ask: Ask, register: Any, pay: Any, amount: int, code: int
) -> None:
    order_id = register()["orderId"]
    pay(order=order_id)

    assert code_of(ask("refund.do", orderId=order_id, amount=amount)) == code


@pytest.mark.parametrize(
    ("amounts", "states"),
    [([None], [3]), ([9900, 10000], [1, 3])],
)
def test_what_is_held_is_let_go_at_once_or_in_parts(
    ask: Ask, register: Any, pay: Any, amounts: list[int | None], states: list[int]
) -> None:
    order_id = register("registerPreAuth.do")["orderId"]
    pay(order=order_id)

    for amount, state in zip(amounts, states, strict=True):
        assert code_of(ask("reverse.do", orderId=order_id, amount=amount)) == 0
        assert ask("getOrderStatusExtended.do", orderId=order_id)["orderStatus"] == state


def test_deposit_of_zero_takes_all_that_is_held(ask: Ask, register: Any, pay: Any) -> None:
    order_id = register("registerPreAuth.do")["orderId"]
    pay(order=order_id)

    ask("deposit.do", orderId=order_id, amount=0)

    status = ask("getOrderStatusExtended.do", orderId=order_id)
    assert status["paymentAmountInfo"]["depositedAmount"] == 19900


def test_what_a_rule_refuses_does_not_happen(
    call: Any, ask: Ask, register: Any, pay: Any, sandbox: RunningSandbox
) -> None:
    order_id = register(orderNumber=(number := uuid4().hex))["orderId"]
    pay(order=number)
    sandbox.control(number, {"status": 503}, times=1)

    assert call("refund.do", orderId=order_id, amount=100).status_code == 503

    assert ask("getOrderStatusExtended.do", orderId=order_id)["orderStatus"] == 2


@pytest.mark.parametrize(
    ("method", "path", "arguments", "status"),
    [
        ("GET", REST + "register.do", {}, 405),
        ("POST", REST + "payment.do", {"data": MERCHANT}, 404),
        ("POST", "/sba", {"data": MERCHANT}, 404),
        ("POST", REST + "register.do", {"json": MERCHANT}, 415),
        ("POST", GATEWAY + "register.do", {"data": MERCHANT}, 415),
        ("POST", GATEWAY + "register.do", {"json": [1]}, 400),
        ("POST", "/sba/_pay", {"json": {}}, 400),
        ("POST", "/sba/_pay", {"json": {"order": "no-such"}}, 409),
        ("POST", "/sba/_webhook", {"json": {"url": None}}, 405),
    ],
)
def test_what_is_no_call_of_the_bank_is_refused(
    sandbox: RunningSandbox, method: str, path: str, arguments: dict[str, Any], status: int
) -> None:
    response = sandbox.session.request(method, sandbox.http_url + path, timeout=30, **arguments)

    assert response.status_code == status


def parameters_of(listener: Any, method: str) -> dict[str, str]:
    """The parameters of the next callback, whose checksum is right."""
    call = listener.next_call()
    assert call.method == method
    text = urlsplit(call.path).query if method == "GET" else call.body.decode()
    parameters = dict(parse_qsl(text))
    signed = "".join(
        f"{name};{value};" for name, value in sorted(parameters.items()) if name != "checksum"
    )
    expected = hmac.new(KEY, signed.encode(), hashlib.sha256).hexdigest().upper()
    assert parameters["checksum"] == expected
    return parameters


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_bank_reports_each_operation(
    listener: Any, report_to: Any, ask: Ask, register: Any, pay: Any, method: str
) -> None:
    report_to(url=listener.url, method=method)
    number = uuid4().hex
    order_id = register("registerPreAuth.do", orderNumber=number)["orderId"]

    pay(order=number)
    ask("deposit.do", orderId=order_id, amount=15000)
    ask("refund.do", orderId=order_id, amount=100)

    for operation, amount in ("approved", "19900"), ("deposited", "15000"), ("refunded", "100"):
        reported = parameters_of(listener, method)
        assert (reported["operation"], reported["status"]) == (operation, "1")
        assert (reported["mdOrder"], reported["orderNumber"]) == (order_id, number)
        assert reported["amount"] == amount


@pytest.mark.parametrize(
    ("outcome", "operation"), [("declined", "deposited"), ("expired", "declinedByTimeout")]
)
def test_a_payment_that_was_not_made_is_reported_to_the_address_of_its_order(
    listener: Any, ask: Ask, register: Any, pay: Any, outcome: str, operation: str
) -> None:
    order_id = register(dynamicCallbackUrl=f"{listener.url}/hook?shop=1")["orderId"]

    assert pay(order=order_id, outcome=outcome).json()["orderStatus"] == 6

    reported = parameters_of_own(listener)
    assert (reported["operation"], reported["status"]) == (operation, "0")
    assert pay(order=order_id).status_code == 409


def parameters_of_own(listener: Any) -> dict[str, str]:
    """As the next callback came to an address that has a parameter of its own."""
    call = listener.next_call()
    path, _, query = call.path.partition("?")
    parameters = dict(parse_qsl(query))
    assert (call.method, path, parameters.pop("shop")) == ("GET", "/hook", "1")
    return parameters
