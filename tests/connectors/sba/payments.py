"""Payments as an application asks for them, and how they arrive at the bank."""

import json
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

from connectors.base import Accepted, OutboundMessage

PASSWORD = "sandbox-password"
RETURN_URL = "https://shop.test/paid"
REGISTER = {"operation": "register", "amount": 19900, "currency": 643, "returnUrl": RETURN_URL}
ORDER_ID = "70906e55-7114-41d6-8332-4609dc6590f4"
MOVES = ["deposit", "reverse", "refund"]


def payment(payload: Any = None, order: str | None = None, **fields: Any) -> OutboundMessage:
    return OutboundMessage(
        id=1,
        uid=str(uuid4()),
        channel="payment",
        recipient=order or uuid4().hex,
        payload=REGISTER if payload is None else payload,
        **fields,
    )


def replied(accepted: Accepted) -> dict[str, Any]:
    assert accepted.reply is not None
    return json.loads(accepted.reply.body)


def payload_for(operation: str) -> dict[str, Any]:
    if operation in {"register", "registerPreAuth"}:
        return {**REGISTER, "operation": operation}
    return {"operation": operation, "orderId": ORDER_ID, "amount": 100}


def body_of(received, api: str) -> dict[str, Any]:
    if api == "gateway":
        return json.loads(received.body)
    return {name: values[0] for name, values in parse_qs(received.body.decode()).items()}
