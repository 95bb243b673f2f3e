"""Messages with files, and what becomes of those."""

from hashlib import sha256
from typing import Any

import pytest

from app.attachments import resolve as attachments
from app.attachments.errors import ERRORS
from connectors.base import Attachment, AttachmentSource, OutboundMessage, SendError

CONTENT: frozenset[AttachmentSource] = frozenset({"content"})
URL: frozenset[AttachmentSource] = frozenset({"url"})
UNKNOWN = "application/octet-stream"


def file(url: str | None = None, name: str = "a", kind: str = UNKNOWN, **more: Any) -> Attachment:
    return Attachment(name, kind, url=url, **more)


def resolved(
    *files: Attachment, sources: frozenset[AttachmentSource] = CONTENT
) -> tuple[Attachment, ...]:
    message = OutboundMessage(1, "uid-1", "email", "a@example.com", attachments=files)
    return attachments.resolve(message, sources).attachments


def refused(*files: Attachment, sources: frozenset[AttachmentSource] = CONTENT) -> SendError:
    """The error that the files lead to, which is what its row says."""
    with pytest.raises(SendError) as caught:
        resolved(*files, sources=sources)
    [row] = [row for row in ERRORS if row.code == caught.value.code]
    assert type(caught.value) is row.outcome
    return caught.value


def digest(content: bytes) -> str:
    return sha256(content).hexdigest()
