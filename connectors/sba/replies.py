"""What Sberbank's acquiring answers: its error codes as a table, and the order in a reply."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connectors.base import (
    ErrorCode,
    Misconfigured,
    Receipt,
    ReceiptKind,
    Rejected,
    SendError,
    Unavailable,
    Uncertain,
)
from connectors.sba.operations import METHODS, MOVES, REGISTRATIONS
from connectors.toolkit.http.replies import Response, excerpt

ALREADY_REGISTERED = "1"
NOT_SUCCESSFUL = "not_successful"

# By orderStatus; 0 and 5 say that the customer has not paid yet. A refund proves a payment.
KIND_OF_STATUS: Mapping[str, tuple[ReceiptKind, str]] = {
    "1": ("sent", "approved"),
    "2": ("delivered", "deposited"),
    "3": ("failed", "reversed"),
    "4": ("delivered", "refunded"),
    "6": ("failed", "declined"),
}
UNPAID = frozenset({"0", "5"})

# Not what else a status tells: the card, its holder, the customer.
KEPT = (
    "orderNumber",
    "orderStatus",
    "actionCode",
    "actionCodeDescription",
    "amount",
    "currency",
    "paymentAmountInfo",
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """What an error code means after some of the operations, where the bank says `says`: it has
    one number for several things, and tells them apart by their text alone."""

    error: ErrorCode
    operations: frozenset[str] = frozenset(METHODS)
    says: re.Pattern[str] | None = None


def _says(*beginnings: str) -> re.Pattern[str]:
    return re.compile("|".join(beginnings), re.IGNORECASE)


_SYSTEM_ERROR = _says("system error", "системная ошибка")

# The first row that fits. Access denied to one operation, or to one order, is no reason to stop
# the registrations of all others; at a registration it means the credentials.
REFUSALS = (
    Refusal(
        ErrorCode(
            ALREADY_REGISTERED,
            Rejected,
            "register: the number is that of another order (with the same amount it counts as "
            "registered)",
        ),
        REGISTRATIONS,
    ),
    Refusal(ErrorCode("1", Rejected, "status, deposit, reverse, refund: the order is not named")),
    Refusal(ErrorCode("3", Rejected, "unknown currency")),
    Refusal(ErrorCode("4", Rejected, "a required parameter is missing")),
    Refusal(
        ErrorCode("5", Misconfigured, "the password must be changed, or the user is disabled"),
        says=_says("password", "парол", "disabled", "blocked", "отключ", "заблокирован"),
    ),
    Refusal(
        ErrorCode("5", Misconfigured, "register: access denied"),
        REGISTRATIONS,
        _says("access denied", "доступ запрещ"),
    ),
    Refusal(
        ErrorCode("5", Rejected, "wrong value or amount; access denied to this operation or order")
    ),
    Refusal(ErrorCode("6", Rejected, "no such order")),
    Refusal(
        ErrorCode("7", Uncertain, "deposit, reverse, refund: system error"), MOVES, _SYSTEM_ERROR
    ),
    Refusal(
        ErrorCode("7", Rejected, "deposit, reverse, refund: wrong state, or below one rouble"),
        MOVES,
    ),
    Refusal(ErrorCode("7", Unavailable, "register, status: system error")),
    Refusal(ErrorCode("13", Rejected, "unknown feature")),
    Refusal(ErrorCode("14", Rejected, "features that exclude each other")),
    Refusal(ErrorCode(NOT_SUCCESSFUL, Rejected, "an error without a code, or success: false")),
)


def refused(operation: str, code: str, text: str, detail: str) -> SendError:
    """The error to raise for `code` after `operation`. `text` is what the bank said, `detail` the
    part of it that may be told. A code of no row is Rejected: the bank did say no."""
    for row in REFUSALS:
        if (
            row.error.code == code
            and operation in row.operations
            and (row.says is None or row.says.search(text))
        ):
            return row.error.error(detail)
    return Rejected(code, detail)


def fields_of(response: Response) -> dict[str, Any] | None:
    """The body as an object, None where it is none."""
    try:
        fields = response.json()
    except ValueError:
        return None
    return fields if isinstance(fields, dict) else None


def error_of(fields: Mapping[str, Any]) -> tuple[str, str] | None:
    """The code and the text of the error in a body, None where there is none.

    Codes are strings or numbers, `0` or left out after a success; the two doors and the payment
    methods spell and nest them in different ways.
    """
    error = fields.get("error")
    nested = error if isinstance(error, dict) else {}
    texts = (
        fields.get("errorMessage"),
        fields.get("ErrorMessage"),
        nested.get("description"),
        nested.get("message"),
        error,
    )
    text = next((text for text in texts if isinstance(text, str)), "")
    for code in (fields.get("errorCode"), fields.get("ErrorCode"), nested.get("code")):
        if isinstance(code, str | int) and str(code).strip() not in {"", "0"}:
            return str(code).strip(), text
    if error or fields.get("success") is False:
        return NOT_SUCCESSFUL, text
    return None


def order_id_of(fields: Mapping[str, Any]) -> str | None:
    """The bank's id of the order in a reply: `orderId` of a registration, or the attribute
    `mdOrder` of a status, which the gateway documents as an object and REST as a list."""
    attributes = fields.get("attributes")
    if isinstance(attributes, list):
        pairs = [item for item in attributes if isinstance(item, dict)]
        attributes = {str(pair.get("name")): pair.get("value") for pair in pairs}
    nested = attributes.get("mdOrder") if isinstance(attributes, dict) else None
    found = fields.get("orderId") or nested
    return found if isinstance(found, str) else None


def receipts_of(order_id: str, fields: Mapping[str, Any]) -> list[Receipt]:
    """What the status of an order says of its registration: nothing before a payment."""
    status = str(fields.get("orderStatus"))
    if status in UNPAID or "orderStatus" not in fields:
        return []
    kind, code = KIND_OF_STATUS.get(status, ("unrecognised", status))
    said = fields.get("actionCodeDescription")
    return [
        Receipt(
            key=f"{order_id}:orderStatus:{status}",
            kind=kind,
            provider_message_id=order_id,
            code=code,
            detail=excerpt(said) if isinstance(said, str) and said else None,
            payload={name: fields[name] for name in KEPT if name in fields},
        )
    ]
