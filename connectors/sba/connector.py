"""Sberbank internet acquiring: orders are registered, asked about, deposited, reversed, refunded.

The bank has two doors with the same methods: the older REST interface takes urlencoded forms below
`/payment/rest/`, the e-commerce gateway JSON below `/ecomm/gw/partner/api/v1/`. Both answer 200 to
what they refuse as well; the error code in the body is what counts. Wire format as in the bank's
documentation of the gateway (https://ecomtest.sberbank.ru/doc) and of the REST interface
(https://securepayments.sberbank.ru/wiki/doku.php/integration:api:start).

A message is one operation on the order whose number is its recipient. Its payload holds the name
of the operation and the parameters under the bank's names:

    {"operation": "register", "amount": 19900, "currency": 643, "returnUrl": "https://…"}

Registering again is harmless, since an order number is taken only once. Moving money again is
not: the bank has no key by which it would know a repetition. So a deposit, reversal or refund
without a clear answer is Uncertain, and agents of this connector hold what is uncertain.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from connectors.base import (
    Accepted,
    Channel,
    ErrorCode,
    OnUncertain,
    OutboundMessage,
    Receipt,
    Received,
    Rejected,
    Reply,
    SendError,
    SentMessage,
    Unavailable,
    Uncertain,
    WebhookKind,
    WebhookRequest,
)
from connectors.sba import callback
from connectors.sba.operations import METHODS, MOVES, REGISTRATIONS, Operation, read
from connectors.sba.replies import (
    ALREADY_REGISTERED,
    NOT_SUCCESSFUL,
    REFUSALS,
    error_of,
    fields_of,
    order_id_of,
    receipts_of,
    refused,
)
from connectors.toolkit.http import BaseUrl, HttpConnector, HttpSettings, HttpUrl
from connectors.toolkit.http.replies import Response, excerpt, response_error

HOSTS = {"rest": "https://securepayments.sberbank.ru", "gateway": "https://ecommerce.sberbank.ru"}
PREFIXES = {"rest": "/payment/rest/", "gateway": "/ecomm/gw/partner/api/v1/"}


def _certificate(pem: str) -> str:
    callback.public_key(pem)
    return pem


Secret = Annotated[SecretStr, Field(min_length=1)]
Certificate = Annotated[str, AfterValidator(_certificate)]


class SbaSettings(HttpSettings):
    """Which door of the bank, and who we are there."""

    api: Literal["rest", "gateway"] = "rest"
    """`rest` is the older interface with forms, `gateway` the e-commerce gateway with JSON."""
    url: BaseUrl | None = None
    """What the paths of the interface are appended to; left out, the bank's production host. Its
    test hosts are `https://3dsec.sberbank.ru` and, of the gateway, `https://ecomtest.sberbank.ru`."""
    user_name: SecretStr | None = None
    """The name of the merchant's service account, mostly with the ending `-api`."""
    password: SecretStr | None = None
    """Its password."""
    token: SecretStr | None = None
    """The merchant's token, in place of name and password."""
    callback_url: HttpUrl | None = None
    """Where the bank shall report what becomes of an order, sent as `dynamicCallbackUrl` with each
    registration; left out, it reports to the address of the merchant's account, if there is one."""
    webhook_secrets: Annotated[tuple[Secret, ...], Field(max_length=2)] = ()
    """What the bank signs its callbacks with, where that is a shared key. Two while one replaces
    the other."""
    webhook_certificates: Annotated[tuple[Certificate, ...], Field(max_length=2)] = ()
    """The bank's certificate, or its public key, in PEM, where it signs callbacks with RSA. Without
    one of these and without a secret the webhook is off."""

    @model_validator(mode="after")
    def _one_identity(self) -> Self:
        pair = bool(self.user_name), bool(self.password)
        if pair not in {(True, True), (False, False)} or any(pair) == bool(self.token):
            raise ValueError("give user_name and password, or token, and not both")
        return self


class Sba(HttpConnector[SbaSettings]):
    """Gives payment operations to Sberbank."""

    Settings = SbaSettings
    channels: ClassVar[frozenset[Channel]] = frozenset({"payment"})
    documentation: ClassVar[str | None] = "https://ecomtest.sberbank.ru/doc"
    errors: ClassVar[tuple[ErrorCode, ...]] = tuple(row.error for row in REFUSALS)
    can_poll: ClassVar[bool] = True
    on_uncertain: ClassVar[OnUncertain] = "hold"

    def __init__(self, settings: SbaSettings) -> None:
        super().__init__(settings)
        given = {
            "userName": settings.user_name,
            "password": settings.password,
            "token": settings.token,
        }
        self._identity = {key: value.get_secret_value() for key, value in given.items() if value}
        self._keys = [callback.public_key(pem) for pem in settings.webhook_certificates]
        self._base = (settings.url or HOSTS[settings.api]) + PREFIXES[settings.api]

    @property
    def webhooks(self) -> frozenset[WebhookKind]:
        settings = self.settings
        return frozenset({"status"} if settings.webhook_secrets or self._keys else ())

    @property
    def deadline(self) -> timedelta:
        # The second request asks for the order: which id it has, or what is registered already.
        return 2 * super().deadline

    def send(self, message: OutboundMessage) -> Accepted:
        operation = read(message)
        if operation.name in REGISTRATIONS:
            return self._register(operation, message.uid)
        if operation.name in MOVES:
            return self._move(operation, message.uid)
        return _accepted(self._ask(operation, operation.parameters)[0])

    def receive(self, request: WebhookRequest) -> Received:
        secrets = [secret.get_secret_value() for secret in self.settings.webhook_secrets]
        return callback.read(request, secrets, self._keys)

    def poll(self, messages: Sequence[SentMessage]) -> list[Receipt]:
        receipts = []
        for message in messages:
            order_id = message.provider_message_id
            try:
                _, fields = self._call("status", {"orderId": order_id}, [message.recipient])
            except Rejected:
                continue  # the bank knows no such order: the others are none the worse for it
            receipts += receipts_of(order_id, fields)
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
            return self._adopt(operation, rejected)
        order_id = order_id_of(fields)
        if order_id is None:
            raise Unavailable("answer_illegible", "a registration without an orderId")
        return _accepted(response, order_id)

    def _adopt(self, operation: Operation, rejected: Rejected) -> Accepted:
        """Take the order of this number for the one that an earlier try registered, if only its
        answer was lost. One with another amount cannot be that."""
        response, fields = self._ask(operation)
        if str(fields.get("amount")) != str(operation.parameters["amount"]):
            raise rejected
        accepted = _accepted(response, order_id_of(fields))
        return replace(accepted, code=rejected.code, detail=rejected.detail)

    def _move(self, operation: Operation, uid: str) -> Accepted:
        parameters = operation.parameters
        if "orderId" not in parameters:
            parameters = {**parameters, "orderId": self._order_id(operation)}
        response, _ = self._call(operation.name, parameters, operation.texts(), uid)
        return _accepted(response)

    def _order_id(self, operation: Operation) -> str:
        order_id = order_id_of(self._ask(operation)[1])
        if order_id is None:
            raise Rejected("order_id_unknown", "the bank names none: give orderId in the payload")
        return order_id

    def _ask(
        self, operation: Operation, parameters: Mapping[str, Any] | None = None
    ) -> tuple[Response, dict[str, Any]]:
        """The status of the operation's order. Raises a SendError."""
        given = parameters or {}
        # With both, the bank would look at the orderId alone.
        number = {} if "orderId" in given else {"orderNumber": operation.order_number}
        return self._call("status", {**number, **given}, operation.texts())

    def _call(
        self,
        name: str,
        parameters: Mapping[str, Any],
        hide: Iterable[str],
        uid: str | None = None,
    ) -> tuple[Response, dict[str, Any]]:
        """Make one request and return its reply, which holds no error. Raises a SendError."""
        try:
            response = self._request(name, parameters, uid)
        except Uncertain as lost:
            raise _unclear(name, lost) from None
        fields = fields_of(response)
        error = error_of(fields) if fields is not None else None
        hide = (*self._identity.values(), *hide)
        if 200 <= response.status < 300 and fields is not None and error is None:
            return response, fields
        if 200 <= response.status < 300 and fields is None:
            problem: SendError = Unavailable("answer_illegible", "the body is no JSON object")
        else:
            problem = response_error(response, hide)
            code, text = error or (NOT_SUCCESSFUL, "")
            # Without a code of the bank's the status says more.
            spoken = code != NOT_SUCCESSFUL or (error and response.status not in {401, 403})
            if spoken and response.status < 500 and not isinstance(problem, Unavailable):
                problem = refused(name, code, text, excerpt(text, hide))
        raise _unclear(name, problem) if isinstance(problem, Unavailable) else problem

    def _request(self, name: str, parameters: Mapping[str, Any], uid: str | None) -> Response:
        url = self._base + METHODS[name]
        body = {**parameters, **self._identity}
        if self.settings.api == "rest":
            form = {key: _form_value(value) for key, value in body.items()}
            return self.http.request("POST", url, form=form)
        # The gateway documents this key as under development, so nothing here relies on it.
        key = {"X-Idempotency-Key": uid} if uid else {}
        return self.http.request("POST", url, headers=key, json=body)


def _unclear(name: str, problem: Unavailable | Uncertain) -> SendError:
    """What it means that a request brought no clear answer: money may have moved, and nothing
    but a look at the order can tell; anything else is simply asked again."""
    if name in MOVES:
        return Uncertain(problem.code, problem.detail)
    if isinstance(problem, Unavailable):
        return problem
    return Unavailable(problem.code, problem.detail)


def _form_value(value: object) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _accepted(response: Response, order_id: str | None = None) -> Accepted:
    """Only a registration is known by the bank's id of its order: that is what reports on the
    order belong to. The reply holds what the application waits for, like `formUrl`."""
    reply = Reply(response.text, response.headers.get("Content-Type"), response.status)
    return Accepted(order_id, "0", reply=reply)
