"""Which statuses may follow each other."""

WAITING = {"outbox", "retry"}
FINAL = {"sent", "delivered", "bounced", "failed", "unknown", "cancelled", "expired"}
TAKES_A_LATE_ACCEPTANCE = {
    "outbox",
    "queued",
    "retry",
    "unknown",
    "failed",
    "cancelled",
    "expired",
}

STEPS: dict[str | None, set[str]] = {
    None: {"outbox"},
    "outbox": {"queued", "cancelled", "expired", "failed", "sent"},
    "queued": {"sending", "outbox", "retry", "cancelled", "expired", "failed", "sent"},
    "sending": {"sent", "retry", "failed", "unknown", "outbox"},
    "retry": {"queued", "sending", "cancelled", "expired", "failed", "sent"},
    "sent": {"delivered", "bounced", "failed"},
    "delivered": {"outbox"},
    "bounced": {"outbox"},
    "failed": {"outbox", "sent"},
    "unknown": {"outbox", "sent"},
    "cancelled": {"outbox", "sent"},
    "expired": {"outbox", "sent"},
}
"""The statuses that may follow each other: the table of the design, and besides an acceptance
that comes after its lease."""
