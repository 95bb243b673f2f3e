"""Read the bank's responses: success or error, the order's id, the order's status."""

from collections.abc import Mapping, Sequence
from typing import Any

from connectors.base import Receipt, ReceiptKind, SendError, Unavailable, Uncertain
from connectors.sba.errors import NOT_SUCCESSFUL, classify, find_error
from connectors.sba.operations import MONEY_OPERATIONS
from connectors.toolkit.http import Response, excerpt, response_error

# By orderStatus. A refund implies that the order was paid.
KIND_OF_STATUS: Mapping[str, tuple[ReceiptKind, str]] = {
    "1": ("sent", "approved"),
    "2": ("delivered", "deposited"),
    "3": ("failed", "reversed"),
    "4": ("delivered", "refunded"),
    "6": ("failed", "declined"),
}
# The customer has not paid yet.
UNPAID = frozenset({"0", "5"})

# The other fields of a status contain the card, its holder and the customer.
STORED_FIELDS = (
    "orderNumber",
    "orderStatus",
    "actionCode",
    "actionCodeDescription",
    "amount",
    "currency",
    "paymentAmountInfo",
)


def parse(operation: str, response: Response, hide: Sequence[str]) -> dict[str, Any]:
    """Return the fields of a successful response.

    The bank answers 200 to rejected requests too, so the error code in the body decides.

    Args:
        operation: The name of the operation that was requested.
        response: The bank's response.
        hide: Values to replace by `***` in an exception's detail.

    Raises:
        SendError: The response is not a success.
    """
    fields = _json_object(response)
    error = find_error(fields or {})
    if response.is_success:
        if fields is None:
            invalid = Unavailable("invalid_response", "the body is not a JSON object")
            raise unanswered(operation, invalid)
        if error is None:
            return fields
    by_status = response_error(response, hide)
    if isinstance(by_status, Unavailable):
        raise unanswered(operation, by_status)
    if error is None:
        raise by_status
    code, text = error
    # Without an error code of the bank, these statuses are more precise than the body.
    if code == NOT_SUCCESSFUL and response.status in {401, 403}:
        raise by_status
    raise classify(operation, code, text, hide)


def _json_object(response: Response) -> dict[str, Any] | None:
    try:
        body = response.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def unanswered(operation: str, error: Unavailable | Uncertain) -> SendError:
    """Return the exception for an operation whose request was sent but not clearly answered.

    An operation that moves money may have been executed, and only the order's status can tell.
    Every other operation can safely be repeated.
    """
    if operation in MONEY_OPERATIONS:
        return Uncertain(error.code, error.detail)
    if isinstance(error, Unavailable):
        return error
    return Unavailable(error.code, error.detail)


def find_order_id(fields: Mapping[str, Any]) -> str | None:
    """Return the bank's id of the order in a response, or None.

    It is `orderId` of a registration or the attribute `mdOrder` of a status, which the gateway
    documents as an object and the REST API as a list.
    """
    attributes = fields.get("attributes")
    if isinstance(attributes, list):
        pairs = [item for item in attributes if isinstance(item, dict)]
        attributes = {str(pair.get("name")): pair.get("value") for pair in pairs}
    nested = attributes.get("mdOrder") if isinstance(attributes, dict) else None
    found = fields.get("orderId") or nested
    return found if isinstance(found, str) else None


def read_receipts(order_id: str, fields: Mapping[str, Any]) -> list[Receipt]:
    """Return the receipt for an order's status, or none if the customer has not paid yet.

    Args:
        order_id: The bank's id of the order.
        fields: The fields of a successful `status` response.
    """
    status = str(fields.get("orderStatus"))
    if status in UNPAID or "orderStatus" not in fields:
        return []
    kind, code = KIND_OF_STATUS.get(status, ("unrecognised", status))
    description = fields.get("actionCodeDescription")
    return [
        Receipt(
            key=f"{order_id}:orderStatus:{status}",
            kind=kind,
            provider_message_id=order_id,
            code=code,
            detail=excerpt(description) if isinstance(description, str) and description else None,
            payload={name: fields[name] for name in STORED_FIELDS if name in fields},
        )
    ]
