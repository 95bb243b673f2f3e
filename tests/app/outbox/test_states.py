"""The sets of statuses that follow from the transitions."""

import re

from sqlalchemy import TextClause

from app.outbox import claim, expire, pause, receipts, rescue, route, settle, start, states


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
    modules = (claim, expire, pause, receipts, rescue, route, settle, start)
    statements = [
        value.text
        for module in modules
        for value in vars(module).values()
        if isinstance(value, TextClause)
    ]
    unknown = [
        literals
        for statement in statements
        for literals in re.findall(r"(?:status|kind) (?:NOT )?IN \(([^)]*)\)", statement)
        if frozenset(re.findall(r"'(\w+)'", literals)) not in known
    ]
    assert statements
    assert not unknown
