"""Messages with files, and the files or errors that come of resolving them."""

from hashlib import sha256
from typing import Any

import pytest

from app.attachments import resolve as attachments
from app.attachments.errors import ERRORS
from app.attachments.media_types import UNKNOWN_TYPE
from connectors.base import Attachment, AttachmentSource, OutboundMessage, SendError

CONTENT: frozenset[AttachmentSource] = frozenset({"content"})
URL: frozenset[AttachmentSource] = frozenset({"url"})


def file(
    url: str | None = None, name: str = "a", kind: str = UNKNOWN_TYPE, **more: Any
) -> Attachment:
    return Attachment(name, kind, url=url, **more)


def resolved(
    *files: Attachment, sources: frozenset[AttachmentSource] = CONTENT
) -> tuple[Attachment, ...]:
    message = OutboundMessage(1, "uid-1", "email", "a@example.com", attachments=files)
    return attachments.resolve(message, sources).attachments


def rejection(*files: Attachment, sources: frozenset[AttachmentSource] = CONTENT) -> SendError:
    """Return the error that resolving raises, after checking it against the table of errors."""
    with pytest.raises(SendError) as caught:
        resolved(*files, sources=sources)
    [row] = [row for row in ERRORS if row.code == caught.value.code]
    assert type(caught.value) is row.outcome
    return caught.value


def digest(content: bytes) -> str:
    return sha256(content).hexdigest()
