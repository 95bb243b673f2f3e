"""The sets of statuses that follow from the transitions."""

import re
from importlib import import_module

from sqlalchemy import TextClause

from app.outbox import states


def test_sets_follow_from_the_transitions() -> None:
    assert {"outbox", "queued", "retry"} == states.CANCELLABLE
    assert {
        "failed",
        "unknown",
        "cancelled",
        "expired",
        "bounced",
        "delivered",
    } == states.REPLAYABLE
    assert {
        "outbox",
        "queued",
        "retry",
        "failed",
        "unknown",
        "cancelled",
        "expired",
    } == states.LATE_ACCEPTANCE
    assert set(states.TRANSITIONS) == set(states.OUTBOUND_STATUSES)


def test_hot_statements_name_only_known_sets_of_statuses() -> None:
    """Statements repeat statuses as literals, for the sake of partial indexes."""
    known = {
        frozenset({"outbox", "retry"}),  # waiting
        frozenset({"queued", "retry"}),  # claimed, not started
        states.CANCELLABLE,
        states.LATE_ACCEPTANCE,
        states.OPEN,
        frozenset({"sent", "failed", "unknown"}),  # ends an attempt for good
        frozenset({"sent", "delivered", "bounced", "failed", "unknown"}),  # takes receipts
        frozenset({"failed", "unknown"}),
        frozenset({"failed", "bounced"}),
        frozenset({"sent", "failed", "delivered", "bounced"}),  # receipts that move a message
    }
    unknown = []
    for name in ("claim", "expire", "pause", "purge", "receipts", "rescue", "route", "settle",
                 "start"):  # fmt: skip
        for constant, value in vars(import_module(f"app.outbox.{name}")).items():
            if isinstance(value, TextClause):
                for literals in re.findall(r"(?:status|kind) (?:NOT )?IN \(([^)]*)\)", value.text):
                    if frozenset(re.findall(r"'(\w+)'", literals)) not in known:
                        unknown.append((name, constant, literals))
    assert not unknown
