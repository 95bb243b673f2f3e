"""Payment operations as messages, and the requests they become."""

import json
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

from connectors.base import Accepted, OutboundMessage

PASSWORD = "sandbox-password"
RETURN_URL = "https://shop.test/paid"
REGISTER = {"operation": "register", "amount": 19900, "currency": 643, "returnUrl": RETURN_URL}
ORDER_ID = "70906e55-7114-41d6-8332-4609dc6590f4"
MONEY_OPERATIONS = ["deposit", "reverse", "refund"]


def payment(payload: Any = None, order: str | None = None) -> OutboundMessage:
    """Return a message, by default a registration of a new order."""
    return OutboundMessage(
        id=1,
        uid=str(uuid4()),
        channel="payment",
        recipient=uuid4().hex if order is None else order,
        payload=REGISTER if payload is None else payload,
    )


def payload_for(operation: str) -> dict[str, Any]:
    if operation in {"register", "registerPreAuth"}:
        return {**REGISTER, "operation": operation}
    return {"operation": operation, "orderId": ORDER_ID, "amount": 100}


def reply_of(accepted: Accepted) -> dict[str, Any]:
    """Return the bank's response to an accepted message."""
    assert accepted.reply is not None
    fields: dict[str, Any] = json.loads(accepted.reply.body)
    return fields


def body_of(received: Any) -> dict[str, Any]:
    """Return the parameters of a request to either API."""
    if received.headers["Content-Type"] == "application/json":
        fields: dict[str, Any] = json.loads(received.body)
        return fields
    return {name: values[0] for name, values in parse_qs(received.body.decode()).items()}
