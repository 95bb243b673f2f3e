"""Statuses of messages, the transitions between them, and the sets derived from both.

Models, API schemas, SQL and tests take them from here. Hot SQL statements repeat the statuses as
literals, since a partial index is used only where its predicate is visible to the planner.
"""

from collections.abc import Mapping
from typing import Literal, get_args

Direction = Literal["outbound", "inbound"]
OutboundStatus = Literal[
    "outbox",
    "queued",
    "sending",
    "retry",
    "sent",
    "delivered",
    "bounced",
    "failed",
    "unknown",
    "cancelled",
    "expired",
]
InboundStatus = Literal["received"]
Status = Literal[OutboundStatus, InboundStatus]
AttemptOutcome = Literal["accepted", "unavailable", "rejected", "uncertain", "misconfigured"]

OUTBOUND_STATUSES: tuple[OutboundStatus, ...] = get_args(OutboundStatus)
ATTEMPT_OUTCOMES: tuple[AttemptOutcome, ...] = get_args(AttemptOutcome)

TRANSITIONS: Mapping[OutboundStatus, frozenset[OutboundStatus]] = {
    "outbox": frozenset({"queued", "cancelled", "expired", "failed", "sent"}),
    "queued": frozenset({"sending", "outbox", "retry", "cancelled", "expired", "failed", "sent"}),
    "sending": frozenset({"sent", "retry", "failed", "unknown", "outbox"}),
    "retry": frozenset(
        {"queued", "sending", "cancelled", "expired", "failed", "sent", "delivered", "bounced"}
    ),
    "sent": frozenset({"delivered", "bounced", "failed"}),
    "delivered": frozenset({"outbox", "bounced"}),
    "bounced": frozenset({"outbox", "delivered"}),
    "failed": frozenset({"outbox", "sent", "delivered", "bounced"}),
    "unknown": frozenset({"outbox", "sent", "delivered", "bounced", "failed"}),
    "cancelled": frozenset({"outbox", "sent"}),
    "expired": frozenset({"outbox", "sent"}),
}
"""The statuses that each status may change to. `sent` can follow every status but `delivered` and
`bounced`: a provider may accept a message after its lease has expired."""

OPEN = frozenset[OutboundStatus]({"outbox", "queued", "sending", "retry"})
"""Statuses of messages that Postroom still has to act on."""

CANCELLABLE = frozenset(status for status, after in TRANSITIONS.items() if "cancelled" in after)
REPLAYABLE = frozenset(
    status for status, after in TRANSITIONS.items() if "outbox" in after and status not in OPEN
)
LATE_ACCEPTANCE = frozenset(
    status for status, after in TRANSITIONS.items() if "sent" in after and status != "sending"
)
"""Statuses that an acceptance changes to `sent` although the lease of its attempt has expired."""

FAILED = frozenset[OutboundStatus]({"failed", "unknown", "bounced"})
"""Statuses that need an operator's attention."""
