"""Read the payment operation that a message asks for: its name, order and parameters."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from connectors.base import OutboundMessage, Rejected
from connectors.toolkit.http import excerpt

METHODS: Mapping[str, str] = {
    "register": "register.do",
    "registerPreAuth": "registerPreAuth.do",
    "status": "getOrderStatusExtended.do",
    "deposit": "deposit.do",
    "reverse": "reverse.do",
    "refund": "refund.do",
}
REGISTRATIONS = frozenset({"register", "registerPreAuth"})
MONEY_OPERATIONS = frozenset({"deposit", "reverse", "refund"})

_REQUIRED: Mapping[str, tuple[str, ...]] = {
    "register": ("amount", "returnUrl"),
    "registerPreAuth": ("amount", "returnUrl"),
    "deposit": ("amount",),
    "refund": ("amount",),
}
# The order number is the recipient, and the credentials are settings.
_RESERVED = frozenset({"orderNumber", "userName", "password", "token"})
_MAX_ORDER_NUMBER_CHARACTERS = 32
_MAX_AMOUNT = 10**12 - 1


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation on one order, with parameters under the bank's names."""

    name: str
    order_number: str
    parameters: Mapping[str, Any]

    def texts(self) -> Iterator[str]:
        """Yield every text of the operation, which may be personal data."""
        yield self.order_number
        yield from _texts(self.parameters)


def parse_operation(message: OutboundMessage) -> Operation:
    """Return the operation that a message asks for.

    Raises:
        Rejected: The recipient or the payload is invalid.
    """
    payload = message.payload
    if not isinstance(payload, dict):
        raise Rejected(
            "payload_invalid", "payload: not an object. Use an object with an operation."
        )
    name = payload.get("operation")
    if not isinstance(name, str) or name not in METHODS:
        raise Rejected(
            "operation_unknown",
            f"payload.operation: unknown. Use one of {', '.join(METHODS)}.",
        )
    if not 1 <= len(message.recipient) <= _MAX_ORDER_NUMBER_CHARACTERS:
        raise Rejected(
            "order_number_invalid",
            f"recipient: not an order number. Use 1 to {_MAX_ORDER_NUMBER_CHARACTERS} characters.",
        )
    parameters = {key: value for key, value in payload.items() if key != "operation"}
    if reserved := parameters.keys() & _RESERVED:
        raise Rejected("parameter_not_allowed", f"payload: remove {', '.join(sorted(reserved))}.")
    if missing := [key for key in _REQUIRED.get(name, ()) if key not in parameters]:
        raise Rejected("parameter_missing", f"payload: add {', '.join(missing)}.")
    _check_types(parameters)
    _check_amount(name, parameters.get("amount"))
    if "currency" in parameters:
        parameters["currency"] = _currency(parameters["currency"])
    return Operation(name, message.recipient, parameters)


def _check_types(parameters: Mapping[str, Any]) -> None:
    for key, value in parameters.items():
        if not isinstance(value, str | int | dict | list):
            raise Rejected(
                "parameter_invalid",
                f"payload.{excerpt(key)}: type {type(value).__name__} is not allowed. "
                "Use a string, an integer, an object or an array.",
            )


def _check_amount(operation: str, amount: object) -> None:
    """Check that the amount, if any, is an integer in kopecks, because 199.0 may mean roubles.

    Zero deposits the whole amount that is held. Its effect on a refund or reversal is not
    documented.
    """
    if amount is None:
        return
    minimum = 1 if operation in {"refund", "reverse"} else 0
    if (
        not isinstance(amount, int)
        or isinstance(amount, bool)
        or not minimum <= amount <= _MAX_AMOUNT
    ):
        raise Rejected(
            "parameter_invalid",
            f"payload.amount: not an amount in kopecks. "
            f"Use an integer from {minimum} to {_MAX_AMOUNT}.",
        )


def _currency(value: object) -> str:
    text = f"{value:03}" if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not re.fullmatch("[0-9]{3}", text):
        raise Rejected(
            "parameter_invalid", "payload.currency: not an ISO 4217 number. Use for example 643."
        )
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
