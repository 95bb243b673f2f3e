"""A validated message that is not stored yet."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from connectors import base


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A message that passed every check, with normalised addresses and a chosen agent.

    Its fields but `attachments` are the columns of the message.
    """

    channel: str
    agent: str
    recipient: str
    profile: str = "default"
    sender: str | None = None
    cc: list[str] = field(default_factory=list)
    bcc: list[str] = field(default_factory=list)
    reply_to: str | None = None
    subject: str | None = None
    body: str = ""
    html: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    payload: Any = None
    metadata: dict[str, Any] = field(default_factory=dict)
    attachments: Sequence[base.Attachment] = ()
    priority: int = 2
    send_at: datetime | None = None
    expires_at: datetime | None = None
    reference: str | None = None
