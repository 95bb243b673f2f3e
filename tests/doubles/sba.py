"""Sberbank's internet acquiring, both doors to the same orders: REST with forms below
`/sba/payment/rest/`, the e-commerce gateway with JSON below `/sba/ecomm/gw/partner/api/v1/`
(https://ecomtest.sberbank.ru/doc). What is refused is answered with 200 and an `errorCode`: a
string at one door, a number at the other.

The merchant: user `sandbox-api`, password `sandbox-password`, or token `sandbox-token`; callbacks
are signed with HMAC-SHA256 and the key `sandbox-callback-key`.

`POST /sba/_pay` plays the customer: JSON with `order`, the number or id, and `outcome`: `paid`,
`declined` or `expired`. `PUT /sba/_webhook` sets where callbacks of orders without a
`dynamicCallbackUrl` go: JSON with `url`, and `method`, GET or POST.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar
from urllib.parse import urlencode, urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError

from sandbox.callbacks import CallbackRequest, send_callbacks
from sandbox.provider import (
    Delivery,
    Provider,
    RefusedError,
    Request,
    Response,
    ResponseError,
    json_response,
)
from sandbox.received import truncate
from tests.doubles.sba_orders import BankError, Order, Orders
from tests.doubles.sba_requests import (
    CURRENCIES,
    FEATURES,
    GATEWAY,
    IDENTITY,
    METHODS,
    REST,
    check,
    is_address,
    kopecks,
    read,
    text,
)

CALLBACK_KEY = b"sandbox-callback-key"

EXPIRED, REFUSED_BY_ISSUER = -2007, 116


class _Payment(BaseModel):
    model_config = ConfigDict(extra="forbid")

    order: str
    outcome: Literal["paid", "declined", "expired"] = "paid"


class _Webhook(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: str | None
    method: Literal["GET", "POST"] = "GET"


M = TypeVar("M", bound=BaseModel)


class _Bank:
    """The acquirer as one merchant sees it."""

    def __init__(self) -> None:
        self._orders = Orders()
        self._webhook = _Webhook(url=None)

    def read(self, request: Request) -> Delivery:
        if request.path == "/sba/_pay":
            raise ResponseError(self._pay(_read_json(request, "POST", _Payment)))
        if request.path == "/sba/_webhook":
            self._webhook = _read_json(request, "PUT", _Webhook)
            raise ResponseError(json_response(200, {}))
        door = REST if request.path.startswith(REST) else GATEWAY
        name = request.path.removeprefix(door)
        if name not in METHODS:
            raise RefusedError(404, "no such method")
        given = read(request, door)
        try:
            check(given, door)
            if name in {"register.do", "registerPreAuth.do"}:
                return self._register(request, door, name, given)
            if name == "getOrderStatusExtended.do":
                return self._status(door, given)
            return self._move(door, name, given)
        except BankError as error:
            raise ResponseError(_answer(door, error.code, error.text)) from None

    def _register(
        self, request: Request, door: str, name: str, given: Mapping[str, Any]
    ) -> Delivery:
        number = text(given, "orderNumber")
        if self._orders.has_number(number):
            raise BankError(1, "Order with this number was registered before")
        currency = given.get("currency", "643")
        if currency not in CURRENCIES:
            raise BankError(3, "Unknown currency")
        if not is_address(text(given, "returnUrl")):
            raise BankError(5, "[returnUrl] is invalid")
        if set(filter(None, given.get("features", "").split(";"))) - FEATURES:
            raise BankError(13, "Unknown feature")
        callback_url = given.get("dynamicCallbackUrl")
        if callback_url is not None and not is_address(callback_url):
            raise BankError(5, "[dynamicCallbackUrl] is invalid")
        order = Order(
            number=number,
            amount=kopecks(given),
            currency=currency,
            two_stage=name == "registerPreAuth.do",
            callback_url=callback_url,
        )
        page = f"http://{request.headers.get('host')}/sba/payment_ru.html?mdOrder={order.id}"
        said = {"orderId": order.id, "formUrl": page}
        # The older door says nothing of errors where there is none.
        answer = json_response(200, said) if door == REST else _answer(door, 0, "Success", said)
        return self._delivery(name, given, order, answer, operation=None)

    def _status(self, door: str, given: Mapping[str, Any]) -> Delivery:
        order = self._find(given)
        attributes: Any = {"mdOrder": order.id}
        if door == REST:
            attributes = [{"name": "mdOrder", "value": order.id}]
        said = {**order.as_status(), "attributes": attributes}
        answer = _answer(door, 0, "Success", said)
        return self._delivery("getOrderStatusExtended.do", given, order, answer, operation=None)

    def _move(self, door: str, name: str, given: Mapping[str, Any]) -> Delivery:
        text(given, "orderId")
        order = self._find(given)
        if name == "deposit.do":
            changed, operation = order.deposit(kopecks(given)), "deposited"
        elif name == "refund.do":
            changed, operation = order.refund(kopecks(given)), "refunded"
        else:
            amount = kopecks(given) if "amount" in given else None
            changed, operation = order.reverse(amount), "reversed"
        return self._delivery(name, given, changed, _answer(door, 0, "Success"), operation)

    def _find(self, given: Mapping[str, Any]) -> Order:
        if order_id := given.get("orderId"):
            return self._orders.by_id(order_id)
        if number := given.get("orderNumber"):
            return self._orders.by_number(number)
        raise BankError(1, "Expected [orderId] or [orderNumber]")

    def _delivery(
        self,
        name: str,
        given: Mapping[str, Any],
        order: Order,
        answer: Response,
        operation: str | None,
    ) -> Delivery:
        told = {key: value for key, value in given.items() if key not in IDENTITY}
        return Delivery(
            to=order.number,
            key=order.number if name.startswith("register") else None,
            details={
                "to": order.number,
                "method": name,
                "content": truncate(json.dumps(told, ensure_ascii=False)),
                "order_id": order.id,
            },
            response=answer,
            on_accepted=lambda: self._orders.put(order),
            callbacks=self._callbacks(order, operation, 1, given.get("amount"))
            if operation
            else (),
        )

    def _pay(self, payment: _Payment) -> Response:
        try:
            order = self._orders.by_either(payment.order)
            if payment.outcome == "paid":
                changed = order.paid()
                operation, status = "approved" if order.two_stage else "deposited", 1
            elif payment.outcome == "declined":
                changed = order.declined(REFUSED_BY_ISSUER)
                operation, status = "approved" if order.two_stage else "deposited", 0
            else:
                changed = order.declined(EXPIRED)
                operation, status = "declinedByTimeout", 0
        except BankError as error:
            raise RefusedError(409, error.text) from None
        self._orders.put(changed)
        send_callbacks(*self._callbacks(changed, operation, status, changed.amount))
        return json_response(200, {"orderId": changed.id, "orderStatus": changed.status})

    def _callbacks(
        self, order: Order, operation: str, status: int, amount: object
    ) -> tuple[CallbackRequest, ...]:
        url = order.callback_url or self._webhook.url
        if url is None:
            return ()
        parameters = {
            "mdOrder": order.id,
            "orderNumber": order.number,
            "operation": operation,
            "status": str(status),
            "callbackCreationDate": datetime.now(UTC).strftime("%a %b %d %H:%M:%S UTC %Y"),
        }
        if amount is not None:
            parameters["amount"] = str(amount)
        signed = urlencode({**parameters, "checksum": checksum(parameters)})
        if self._webhook.method == "POST":
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            return (CallbackRequest(url, signed.encode(), headers),)
        joint = "&" if urlsplit(url).query else "?"
        return (CallbackRequest(f"{url}{joint}{signed}", method="GET"),)


def checksum(parameters: Mapping[str, str], key: bytes = CALLBACK_KEY) -> str:
    """What signs the parameters of a callback: HMAC-SHA256 over `name;value;` of each, sorted by
    name, in upper-case hexadecimal."""
    text = "".join(f"{name};{value};" for name, value in sorted(parameters.items()))
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest().upper()


def _answer(door: str, code: int, text: str, said: Mapping[str, Any] | None = None) -> Response:
    error_code = str(code) if door == REST else code
    return json_response(200, {"errorCode": error_code, "errorMessage": text, **(said or {})})


def _read_json(request: Request, method: str, model: type[M]) -> M:
    if request.method != method:
        raise RefusedError(405, f"{method} only", {"Allow": method})
    try:
        return model.model_validate_json(request.body)
    except ValidationError as error:
        raise RefusedError(400, str(error)) from None


SBA = Provider("sba", "/sba", _Bank().read)
