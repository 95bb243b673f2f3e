"""Download attachments."""

import re
from http import HTTPStatus
from urllib.parse import quote

from flask import Response
from sqlalchemy import select

from app import db
from app.api.operations import Operation, Section
from app.attachments.media_types import MEDIA_TYPE, UNKNOWN_TYPE
from app.errors import NotFoundError
from app.models import Attachment

section = Section("attachments")


@section.serve(
    Operation(
        "GET",
        "/api/messages/<id:message_id>/attachments/<id:attachment_id>",
        {HTTPStatus.OK: "*/*"},
        scope="read",
    )
)
def get_attachment(message_id: int, attachment_id: int) -> Response:
    """Download an attachment of a message.

    Only for attachments with content. Download a link from its `url`.
    """
    with db.autocommit() as connection:
        attachment = connection.execute(
            select(Attachment.name, Attachment.content_type, Attachment.content).where(
                Attachment.id == attachment_id,
                Attachment.message_id == message_id,
                Attachment.content.is_not(None),
            )
        ).one_or_none()
    if attachment is None:
        raise NotFoundError(f"Message {message_id} has no such attachment.")
    name = quote(attachment.name, safe="")
    is_type = re.fullmatch(MEDIA_TYPE, attachment.content_type, re.ASCII)
    return Response(
        bytes(attachment.content),
        content_type=attachment.content_type if is_type else UNKNOWN_TYPE,
        # Browsers must not display it: the content comes from whoever wrote the message.
        headers={"Content-Disposition": f"attachment; filename*=UTF-8''{name}"},
    )
