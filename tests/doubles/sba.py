"""Sberbank's internet acquiring, with both of its APIs for the same orders.

    /sba/payment/rest/                form fields; `errorCode` is a string
    /sba/ecomm/gw/partner/api/v1/     JSON; `errorCode` is a number

Refused requests get status 200 and an `errorCode`. Source: https://ecomtest.sberbank.ru/doc

The merchant has the user `sandbox-api` with the password `sandbox-password`, and the token
`sandbox-token`. Callbacks are signed with HMAC-SHA256 and the key `sandbox-callback-key`.

`POST /sba/_pay` simulates the customer. Send JSON with `order` (number or id) and `outcome`
(`paid`, `declined` or `expired`). `PUT /sba/_webhook` sets the URL for callbacks of orders without
a `dynamicCallbackUrl`. Send JSON with `url` and `method` (GET or POST).
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
    is_http_url,
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
    """The acquirer, from the point of view of one merchant."""

    def __init__(self) -> None:
        self._orders = Orders()
        self._webhook = _Webhook(url=None)

    def read(self, request: Request) -> Delivery | Response:
        if request.path == "/sba/_pay":
            return self._pay(_read_json(request, "POST", _Payment))
        if request.path == "/sba/_webhook":
            self._webhook = _read_json(request, "PUT", _Webhook)
            return json_response(200, {})
        api = REST if request.path.startswith(REST) else GATEWAY
        name = request.path.removeprefix(api)
        if name not in METHODS:
            raise RefusedError(404, "no such method")
        given = read(request, api)
        try:
            check(given, api)
            if name in {"register.do", "registerPreAuth.do"}:
                return self._register(request, api, name, given)
            if name == "getOrderStatusExtended.do":
                return self._status(api, given)
            return self._change(api, name, given)
        except BankError as error:
            raise ResponseError(_response(api, error.code, error.text)) from None

    def _register(
        self, request: Request, api: str, name: str, given: Mapping[str, Any]
    ) -> Delivery:
        number = text(given, "orderNumber")
        if self._orders.has_number(number):
            raise BankError(1, "Order with this number was registered before")
        currency = given.get("currency", "643")
        if currency not in CURRENCIES:
            raise BankError(3, "Unknown currency")
        if not is_http_url(text(given, "returnUrl")):
            raise BankError(5, "[returnUrl] is invalid")
        if set(filter(None, given.get("features", "").split(";"))) - FEATURES:
            raise BankError(13, "Unknown feature")
        callback_url = given.get("dynamicCallbackUrl")
        if callback_url is not None and not is_http_url(callback_url):
            raise BankError(5, "[dynamicCallbackUrl] is invalid")
        order = Order(
            number=number,
            amount=kopecks(given),
            currency=currency,
            two_stage=name == "registerPreAuth.do",
            callback_url=callback_url,
        )
        page = f"http://{request.headers.get('host')}/sba/payment_ru.html?mdOrder={order.id}"
        fields = {"orderId": order.id, "formUrl": page}
        # The REST API omits errorCode on success.
        answer = json_response(200, fields) if api == REST else _response(api, 0, "Success", fields)
        return self._delivery(name, given, order, answer, operation=None)

    def _status(self, api: str, given: Mapping[str, Any]) -> Delivery:
        order = self._find(given)
        attributes: Any = {"mdOrder": order.id}
        if api == REST:
            attributes = [{"name": "mdOrder", "value": order.id}]
        fields = {**order.as_status(), "attributes": attributes}
        answer = _response(api, 0, "Success", fields)
        return self._delivery("getOrderStatusExtended.do", given, order, answer, operation=None)

    def _change(self, api: str, name: str, given: Mapping[str, Any]) -> Delivery:
        text(given, "orderId")
        order = self._find(given)
        if name == "deposit.do":
            changed, operation = order.deposit(kopecks(given)), "deposited"
        elif name == "refund.do":
            changed, operation = order.refund(kopecks(given)), "refunded"
        else:
            amount = kopecks(given) if "amount" in given else None
            changed, operation = order.reverse(amount), "reversed"
        return self._delivery(name, given, changed, _response(api, 0, "Success"), operation)

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
        content = {key: value for key, value in given.items() if key not in IDENTITY}
        return Delivery(
            to=order.number,
            key=order.number if name.startswith("register") else None,
            details={
                "to": order.number,
                "method": name,
                "content": truncate(json.dumps(content, ensure_ascii=False)),
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
        separator = "&" if urlsplit(url).query else "?"
        return (CallbackRequest(f"{url}{separator}{signed}", method="GET"),)


def checksum(parameters: Mapping[str, str], key: bytes = CALLBACK_KEY) -> str:
    """Return the checksum of a callback.

    It is HMAC-SHA256 over `name;value;` of each parameter, sorted by name, in upper-case hex.
    """
    text = "".join(f"{name};{value};" for name, value in sorted(parameters.items()))
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest().upper()


def _response(api: str, code: int, text: str, fields: Mapping[str, Any] | None = None) -> Response:
    error_code = str(code) if api == REST else code
    return json_response(200, {"errorCode": error_code, "errorMessage": text, **(fields or {})})


def _read_json(request: Request, method: str, model: type[M]) -> M:
    if request.method != method:
        raise RefusedError(405, f"method not allowed. Use {method}.", {"Allow": method})
    try:
        return model.model_validate_json(request.body)
    except ValidationError as error:
        raise RefusedError(400, str(error)) from None


SBA = Provider("sba", "/sba", _Bank().read)
