"""The orders of the simulated acquirer: their states and amounts, and the allowed changes."""

import time
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

MAX_ORDERS = 100_000
MIN_REFUND_KOPECKS = 100

CREATED, APPROVED, DEPOSITED, REVERSED, REFUNDED, DECLINED = 0, 1, 2, 3, 4, 6
PAYMENT_STATES = {
    CREATED: "CREATED",
    APPROVED: "APPROVED",
    DEPOSITED: "DEPOSITED",
    REVERSED: "REVERSED",
    REFUNDED: "REFUNDED",
    DECLINED: "DECLINED",
}


class BankError(Exception):
    """The bank refuses a request with one of its error codes."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


@dataclass(frozen=True, slots=True)
class Order:
    """An order; amounts in kopecks. Changes return a new order."""

    number: str
    amount: int
    currency: str
    two_stage: bool
    callback_url: str | None = None
    id: str = field(default_factory=lambda: str(uuid4()))
    registered_at_ms: int = field(default_factory=lambda: int(time.time() * 1000))
    status: int = CREATED
    action_code: int = -100
    approved: int = 0
    deposited: int = 0
    refunded: int = 0

    def paid(self) -> "Order":
        """Return the order after payment: held for a two-stage payment, otherwise deposited."""
        self._must_be(CREATED)
        paid = replace(self, action_code=0, approved=self.amount)
        if self.two_stage:
            return replace(paid, status=APPROVED)
        return replace(paid, status=DEPOSITED, deposited=self.amount)

    def declined(self, action_code: int) -> "Order":
        """Return the order after its payment was refused or has expired."""
        self._must_be(CREATED)
        return replace(self, status=DECLINED, action_code=action_code)

    def deposit(self, amount: int) -> "Order":
        """Return the order after depositing `amount`, or everything held if 0."""
        self._must_be(APPROVED)
        if amount > self.approved:
            raise BankError(5, "Wrong amount")
        return replace(self, status=DEPOSITED, deposited=amount or self.approved)

    def reverse(self, amount: int | None) -> "Order":
        """Return the order after releasing `amount`, or everything held if None."""
        self._must_be(APPROVED)
        if amount is not None and amount > self.approved:
            raise BankError(5, "Wrong amount")
        left = 0 if amount is None else self.approved - amount
        return replace(self, status=APPROVED if left else REVERSED, approved=left)

    def refund(self, amount: int) -> "Order":
        """Return the order after refunding a part of what was deposited."""
        self._must_be(DEPOSITED, REFUNDED)
        if amount < MIN_REFUND_KOPECKS:
            raise BankError(7, "Invalid refund amount (less than one rouble)")
        if amount > self.deposited - self.refunded:
            raise BankError(5, "Wrong amount")
        return replace(self, status=REFUNDED, refunded=self.refunded + amount)

    def _must_be(self, *states: int) -> None:
        if self.status not in states:
            raise BankError(7, "Payment must be in a correct state")

    def as_status(self) -> dict[str, Any]:
        """Return the order as `getOrderStatusExtended.do` shows it."""
        return {
            "orderNumber": self.number,
            "orderStatus": self.status,
            "actionCode": self.action_code,
            "actionCodeDescription": "",
            "amount": self.amount,
            "currency": self.currency,
            "date": self.registered_at_ms,
            "merchantOrderParams": [],
            "paymentAmountInfo": {
                "paymentState": PAYMENT_STATES[self.status],
                "approvedAmount": self.approved,
                "depositedAmount": self.deposited,
                "refundedAmount": self.refunded,
            },
        }


class Orders:
    """The most recent orders of one merchant."""

    def __init__(self) -> None:
        self._by_id: dict[str, Order] = {}
        self._ids: dict[str, str] = {}

    def put(self, order: Order) -> None:
        """Store an order, or its new version."""
        self._by_id[order.id] = order
        self._ids[order.number] = order.id
        if len(self._by_id) > MAX_ORDERS:
            oldest = self._by_id.pop(next(iter(self._by_id)))
            del self._ids[oldest.number]

    def has_number(self, number: str) -> bool:
        """Return whether there is an order with this number."""
        return number in self._ids

    def by_id(self, order_id: str) -> Order:
        """Return the order with this id. Raises BankError if there is none."""
        try:
            return self._by_id[order_id]
        except KeyError:
            raise BankError(6, "Wrong order number") from None

    def by_number(self, number: str) -> Order:
        """Return the order with this number. Raises BankError if there is none."""
        return self.by_id(self._ids.get(number, ""))

    def by_either(self, key: str) -> Order:
        """Return the order with this id or number. Raises BankError if there is none."""
        return self.by_id(self._ids.get(key, key))
