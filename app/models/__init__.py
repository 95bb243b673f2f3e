"""The database tables. Importing this package registers all of them with `Base.metadata`."""

from app.models.access import ApiToken, IdempotencyKey
from app.models.base import Base
from app.models.control import AgentState, Lease, SchedulerState
from app.models.inbound import Poll, Receipt, UnparsedInbound
from app.models.messages import (
    CHANNELS,
    PRIORITIES,
    TIMESTAMPS,
    Attachment,
    Attempt,
    Conversation,
    Message,
    MessageEvent,
)
from app.models.suppressions import SoftBounce, Suppression, SuppressionReason

__all__ = [
    "CHANNELS",
    "PRIORITIES",
    "TIMESTAMPS",
    "AgentState",
    "ApiToken",
    "Attachment",
    "Attempt",
    "Base",
    "Conversation",
    "IdempotencyKey",
    "Lease",
    "Message",
    "MessageEvent",
    "Poll",
    "Receipt",
    "SchedulerState",
    "SoftBounce",
    "Suppression",
    "SuppressionReason",
    "UnparsedInbound",
]
