"""An address that a provider reports as dead or unwilling gets no further messages."""

from typing import Literal

import pytest

from app import suppression
from app.outbox.deliver import Deliverer
from app.outbox.replay import replay
from connectors.base import Rejected
from tests.app.outbox.deliver.scripted import Scripted, deliver
from tests.app.outbox.driver import Outbox

PHONE = "+4915112345678"


@pytest.mark.parametrize(
    ("suppress", "reason"), [(True, "dead_address"), ("opt_out", "opt_out"), (False, None)]
)
def test_a_rejection_can_suppress_its_recipient(
    outbox: Outbox,
    deliverer: Deliverer,
    scripted: type[Scripted],
    suppress: bool | Literal["opt_out"],
    reason: suppression.Reason | None,
) -> None:
    scripted.answers = [Rejected("21610", "no", suppress=suppress)]
    number = outbox.one()
    assert deliver(outbox, deliverer, number).result == "rejected"
    found = suppression.find(outbox.connection, {("phone", PHONE)}).values()
    assert [(entry.reason, entry.detail) for entry in found] == (
        [(reason, "21610")] if reason else []
    )
    row = outbox.row(number)
    assert (row.status, row.error_code) == ("failed", "21610")
    assert row.reason == ("21610: no; recipient suppressed" if reason else "21610: no")


@pytest.mark.parametrize("agent", ["gateway", "limited"])
def test_waiting_messages_to_the_same_address_fail_without_an_attempt(
    outbox: Outbox, deliverer: Deliverer, scripted: type[Scripted], agent: str
) -> None:
    scripted.answers = [Rejected("21610", suppress=True)]
    _, second = outbox.store(2, agent=agent)
    results = [deliverer.deliver(claim).result for claim in outbox.claim(**{agent: 2})]
    assert results == ["rejected", "suppressed"]
    row = outbox.row(second)
    assert (row.status, row.error_code, row.attempts) == ("failed", "suppressed", 0)
    assert row.reason.startswith(f"{PHONE} has been suppressed since ")
    assert outbox.attempts(second) == []
    assert len(scripted.given) == 1


def test_a_replay_to_a_suppressed_address_fails_without_an_attempt(
    outbox: Outbox, deliverer: Deliverer, scripted: type[Scripted]
) -> None:
    scripted.answers = [Rejected("21610", suppress=True)]
    number = outbox.one()
    deliver(outbox, deliverer, number)
    replay(outbox.connection, [number])
    assert deliver(outbox, deliverer, number).result == "suppressed"
    assert outbox.row(number).error_code == "suppressed"
    assert len(scripted.given) == 1
