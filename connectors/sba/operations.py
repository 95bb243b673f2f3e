"""What a message asks of Sberbank's acquiring: an operation, its order and its parameters."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from connectors.base import OutboundMessage, Rejected
from connectors.toolkit.http.replies import excerpt

METHODS: Mapping[str, str] = {
    "register": "register.do",
    "registerPreAuth": "registerPreAuth.do",
    "status": "getOrderStatusExtended.do",
    "deposit": "deposit.do",
    "reverse": "reverse.do",
    "refund": "refund.do",
}
REGISTRATIONS = frozenset({"register", "registerPreAuth"})
MOVES = frozenset({"deposit", "reverse", "refund"})

_REQUIRED: Mapping[str, tuple[str, ...]] = {
    "register": ("amount", "returnUrl"),
    "registerPreAuth": ("amount", "returnUrl"),
    "deposit": ("amount",),
    "refund": ("amount",),
}
# Whose order it is and who asks is not for the payload to say once more.
_RESERVED = frozenset({"orderNumber", "userName", "password", "token"})
_ORDER_NUMBER_CHARACTERS = 32
_LARGEST_AMOUNT = 10**12 - 1


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation on the order with this number; `parameters` are named as the bank does."""

    name: str
    order_number: str
    parameters: Mapping[str, Any]

    def texts(self) -> Iterator[str]:
        """Every text in it, which may be personal data."""
        yield self.order_number
        yield from _texts(self.parameters)


def read(message: OutboundMessage) -> Operation:
    """The operation that `message` asks for. Raises Rejected naming what is wrong with it."""
    payload = message.payload
    if not isinstance(payload, dict):
        raise Rejected("payload_invalid", "expected an object with an operation")
    name = payload.get("operation")
    if not isinstance(name, str) or name not in METHODS:
        raise Rejected("operation_unknown", f"expected one of {', '.join(METHODS)}")
    if not 1 <= len(message.recipient) <= _ORDER_NUMBER_CHARACTERS:
        raise Rejected(
            "order_number_invalid",
            f"the recipient is the order number, of {_ORDER_NUMBER_CHARACTERS} characters at most",
        )
    parameters = {key: value for key, value in payload.items() if key != "operation"}
    if reserved := parameters.keys() & _RESERVED:
        raise Rejected("parameter_not_allowed", ", ".join(sorted(reserved)))
    if missing := [key for key in _REQUIRED.get(name, ()) if key not in parameters]:
        raise Rejected("parameter_missing", ", ".join(missing))
    _check_types(parameters)
    _check_amount(name, parameters.get("amount"))
    if "currency" in parameters:
        parameters["currency"] = _currency(parameters["currency"])
    return Operation(name, message.recipient, parameters)


def _check_types(parameters: Mapping[str, Any]) -> None:
    for key, value in parameters.items():
        if not isinstance(value, str | int | dict | list):
            raise Rejected("parameter_invalid", f"{excerpt(key)}: a {type(value).__name__}")


def _check_amount(operation: str, amount: object) -> None:
    """Kopecks, as an integer: 199.0 could as well be meant as roubles. Zero deposits all that is
    held, but what it would refund or reverse is left to chance."""
    if amount is None:
        return
    smallest = 1 if operation in {"refund", "reverse"} else 0
    if (
        not isinstance(amount, int)
        or isinstance(amount, bool)
        or not smallest <= amount <= _LARGEST_AMOUNT
    ):
        raise Rejected(
            "parameter_invalid",
            f"amount: expected kopecks as an integer from {smallest} to {_LARGEST_AMOUNT}",
        )


def _currency(value: object) -> str:
    text = f"{value:03}" if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not re.fullmatch("[0-9]{3}", text):
        raise Rejected("parameter_invalid", "currency: expected a number of ISO 4217, like 643")
    return text


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
