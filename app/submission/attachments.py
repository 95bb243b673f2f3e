"""Validate the attachments of a submitted message."""

import base64
import hashlib
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from app.attachments.media_types import UNKNOWN_TYPE, content_type
from app.errors import FieldError
from app.settings import settings
from app.submission.schema import Attachment, ContentAttachment, LinkedAttachment
from connectors import base


class _AttachmentError(ValueError):
    """A field of an attachment is invalid; the whole attachment if `field` is None."""

    def __init__(self, field: str | None, reason: object) -> None:
        super().__init__(reason)
        self.field = field


def validate_attachments(
    attachments: list[Attachment],
    sources: frozenset[base.AttachmentSource],
    errors: list[FieldError],
) -> list[base.Attachment]:
    """Return the attachments to store.

    Args:
        attachments: The attachments as submitted.
        sources: What the connector accepts: content, URLs, both or neither.
        errors: Gets the errors that are found.
    """
    valid = []
    for index, attachment in enumerate(attachments):
        field = f"attachments[{index}]"
        source = "content" if isinstance(attachment, ContentAttachment) else "url"
        # A linked file can be downloaded for a connector that accepts only content.
        if not sources or (source == "content" and source not in sources):
            accepted = " or ".join(sorted(sources)) or "none"
            errors.append(
                FieldError(field, f"the agent accepts no attachments by {source}, only {accepted}")
            )
            continue
        try:
            valid.append(_attachment(attachment, sources))
        except _AttachmentError as error:
            path = f"{field}.{error.field}" if error.field else field
            errors.append(FieldError(path, str(error)))
    limit = settings().attachment_limit_bytes
    if sum(len(attachment.content or b"") for attachment in valid) > limit:
        errors.append(FieldError("attachments", f"must not exceed {limit} bytes in total"))
    return valid


def _attachment(
    attachment: Attachment, sources: frozenset[base.AttachmentSource]
) -> base.Attachment:
    if isinstance(attachment, ContentAttachment):
        return _content_attachment(attachment)
    link = LinkedAttachment(url=attachment) if isinstance(attachment, str) else attachment
    if link.sha256 and "content" not in sources:
        raise _AttachmentError(
            "sha256", "cannot be checked: the provider downloads the attachment itself"
        )
    try:
        name = link.filename or _file_name(link.url)
    except ValueError as error:  # the host is invalid
        raise _AttachmentError(None if isinstance(attachment, str) else "url", error) from None
    return base.Attachment(
        name, link.content_type or UNKNOWN_TYPE, url=link.url, sha256=link.sha256
    )


def _content_attachment(attachment: ContentAttachment) -> base.Attachment:
    try:
        content = base64.b64decode(attachment.content, validate=True)
    except ValueError as error:
        raise _AttachmentError("content", f"not valid base64: {error}") from None
    if attachment.sha256 and attachment.sha256.lower() != hashlib.sha256(content).hexdigest():
        raise _AttachmentError("sha256", "does not match the content")
    media_type = content_type(attachment.filename, attachment.content_type or "")
    return base.Attachment(
        attachment.filename, media_type, content=content, sha256=attachment.sha256
    )


def _file_name(url: str) -> str:
    path = url if url.startswith("s3://") else unquote(urlsplit(url).path)
    name = PurePosixPath(path).name
    return "".join(character for character in name if character.isprintable()) or "attachment"
