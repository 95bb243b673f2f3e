"""Send payment operations to Sberbank internet acquiring.

The bank has two APIs with the same methods: the older REST API takes forms below `/payment/rest/`,
the e-commerce gateway takes JSON below `/ecomm/gw/partner/api/v1/`. Wire formats:
https://securepayments.sberbank.ru/wiki/doku.php/integration:api:start for REST,
https://ecomtest.sberbank.ru/doc for the gateway.

A message is one operation on the order whose number is the recipient. Its payload contains the
name of the operation and its parameters under the bank's names:

    {"operation": "register", "amount": 19900, "currency": 643, "returnUrl": "https://…"}

A registration can safely be repeated, because an order number can be used only once. An operation
that moves money cannot, because the bank has no idempotency key. So a deposit, reversal or refund
without a clear answer is Uncertain, and agents of this connector hold such messages.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar

from connectors.base import (
    Accepted,
    Channel,
    ErrorCode,
    Inbound,
    OnUncertain,
    OutboundMessage,
    Receipt,
    Rejected,
    Reply,
    SentMessage,
    Unavailable,
    Uncertain,
    WebhookKind,
    WebhookRequest,
    WebhookResponse,
)
from connectors.sba import replies
from connectors.sba.errors import ALREADY_REGISTERED, ERRORS
from connectors.sba.operations import (
    METHODS,
    MONEY_OPERATIONS,
    REGISTRATIONS,
    Operation,
    parse_operation,
)
from connectors.sba.settings import SbaSettings
from connectors.sba.webhooks import public_key, read_webhook, verify_webhook
from connectors.toolkit.http import HttpConnector, Response

HOSTS = {"rest": "https://securepayments.sberbank.ru", "gateway": "https://ecommerce.sberbank.ru"}
PREFIXES = {"rest": "/payment/rest/", "gateway": "/ecomm/gw/partner/api/v1/"}


class Sba(HttpConnector[SbaSettings]):
    """The connector `sba`."""

    Settings = SbaSettings
    channels: ClassVar[frozenset[Channel]] = frozenset({"payment"})
    documentation: ClassVar[str | None] = "https://ecomtest.sberbank.ru/doc"
    errors: ClassVar[tuple[ErrorCode, ...]] = ERRORS
    can_poll: ClassVar[bool] = True
    on_uncertain: ClassVar[OnUncertain] = "hold"

    def __init__(self, settings: SbaSettings) -> None:
        super().__init__(settings)
        credentials = {
            "userName": settings.user_name,
            "password": settings.password,
            "token": settings.token,
        }
        self._credentials = {
            name: secret.get_secret_value() for name, secret in credentials.items() if secret
        }
        self._keys = [public_key(pem) for pem in settings.webhook_certificates]
        self._base = (settings.url or HOSTS[settings.api]) + PREFIXES[settings.api]

    @property
    def webhooks(self) -> frozenset[WebhookKind]:
        is_enabled = self.settings.webhook_secrets or self._keys
        return frozenset({"status"} if is_enabled else ())

    @property
    def send_timeout(self) -> timedelta:
        # One operation can take a second request, for the order's id or its status.
        return 2 * super().send_timeout

    def send(self, message: OutboundMessage) -> Accepted:
        operation = parse_operation(message)
        if operation.name in REGISTRATIONS:
            return self._register(operation, message.uid)
        if operation.name in MONEY_OPERATIONS:
            return self._move_money(operation, message.uid)
        response, _ = self._fetch_status(operation, operation.parameters)
        return _accepted(response)

    def verify(self, request: WebhookRequest) -> WebhookResponse:
        secrets = [secret.get_secret_value() for secret in self.settings.webhook_secrets]
        verify_webhook(request, secrets, self._keys)
        return WebhookResponse(200)

    def parse(self, request: WebhookRequest) -> Sequence[Receipt | Inbound]:
        return [read_webhook(request)]

    def poll(self, messages: Sequence[SentMessage]) -> list[Receipt]:
        receipts = []
        for message in messages:
            order_id = message.provider_message_id
            try:
                _, fields = self._call("status", {"orderId": order_id}, [message.recipient])
            except Rejected:
                continue  # the bank does not know this order, but it may know the others
            receipts += replies.read_receipts(order_id, fields)
        return receipts

    def _register(self, operation: Operation, uid: str) -> Accepted:
        parameters = {"orderNumber": operation.order_number, **operation.parameters}
        if self.settings.callback_url:
            parameters.setdefault("dynamicCallbackUrl", self.settings.callback_url)
        try:
            response, fields = self._call(operation.name, parameters, operation.texts(), uid)
        except Rejected as rejected:
            if rejected.code != ALREADY_REGISTERED:
                raise
            return self._find_registered(operation, rejected)
        order_id = replies.find_order_id(fields)
        if order_id is None:
            raise Unavailable("invalid_response", "the registration has no orderId")
        return _accepted(response, order_id)

    def _find_registered(self, operation: Operation, rejected: Rejected) -> Accepted:
        """Return the order that an earlier attempt registered, whose answer was lost.

        Raises:
            Rejected: The order has another amount, so it is not the one of this message.
        """
        response, fields = self._fetch_status(operation)
        if str(fields.get("amount")) != str(operation.parameters["amount"]):
            raise rejected
        accepted = _accepted(response, replies.find_order_id(fields))
        return replace(accepted, code=rejected.code, detail=rejected.detail)

    def _move_money(self, operation: Operation, uid: str) -> Accepted:
        parameters = operation.parameters
        if "orderId" not in parameters:
            _, fields = self._fetch_status(operation)
            order_id = replies.find_order_id(fields)
            if order_id is None:
                raise Rejected(
                    "order_id_unknown", "payload.orderId: unknown to the bank. Set it explicitly."
                )
            parameters = {**parameters, "orderId": order_id}
        response, _ = self._call(operation.name, parameters, operation.texts(), uid)
        return _accepted(response)

    def _fetch_status(
        self, operation: Operation, parameters: Mapping[str, Any] | None = None
    ) -> tuple[Response, dict[str, Any]]:
        """Return the response and the fields of the status of the operation's order."""
        given = parameters or {}
        # The bank would ignore the order number next to an orderId.
        number = {} if "orderId" in given else {"orderNumber": operation.order_number}
        return self._call("status", {**number, **given}, operation.texts())

    def _call(
        self,
        name: str,
        parameters: Mapping[str, Any],
        hide: Iterable[str],
        uid: str | None = None,
    ) -> tuple[Response, dict[str, Any]]:
        """Call a method of the bank and return its successful response and the response's fields.

        Args:
            name: The name of the operation.
            parameters: The parameters without the credentials.
            hide: Values to replace by `***` in an exception's detail, besides the credentials.
            uid: The idempotency key, if the operation changes the order.

        Raises:
            SendError: The request failed.
        """
        try:
            response = self._request(name, parameters, uid)
        except Uncertain as error:
            raise replies.unanswered(name, error) from None
        return response, replies.parse(name, response, (*self._credentials.values(), *hide))

    def _request(self, name: str, parameters: Mapping[str, Any], uid: str | None) -> Response:
        url = self._base + METHODS[name]
        body = {**parameters, **self._credentials}
        if self.settings.api == "rest":
            form = {key: _form_value(value) for key, value in body.items()}
            return self.http.request("POST", url, form=form)
        # The gateway documents this header as not yet working, so nothing relies on it.
        headers = {"X-Idempotency-Key": uid} if uid else {}
        return self.http.request("POST", url, headers=headers, json=body)


def _form_value(value: object) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _accepted(response: Response, order_id: str | None = None) -> Accepted:
    """Return the outcome with the bank's response, which contains values like `formUrl`.

    Only a registration has the order's id, because later reports on the order belong to it.
    """
    reply = Reply(response.text, response.headers.get("Content-Type"), response.status)
    return Accepted(order_id, "0", reply=reply)
