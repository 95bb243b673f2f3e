"""A validated message that is not stored yet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from connectors import base


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A message that passed every check, its addresses normalised and its agent chosen."""

    channel: str
    agent: str
    recipient: str
    profile: str = "default"
    sender: str | None = None
    cc: Sequence[str] = ()
    bcc: Sequence[str] = ()
    reply_to: str | None = None
    subject: str | None = None
    body: str = ""
    html: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    payload: Any = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    attachments: Sequence[base.Attachment] = ()
    priority: int = 2
    due_at: datetime | None = None
    expires_at: datetime | None = None
    reference: str | None = None
