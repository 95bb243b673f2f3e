"""The files of messages."""

import re
from http import HTTPStatus
from urllib.parse import quote

from flask import Response
from sqlalchemy import select

from app import db
from app.api.operations import Operation, Section
from app.api.problems import ProblemError
from app.attachments.media_types import MEDIA_TYPE, UNKNOWN_TYPE
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
    """Read a file of a message.

    One that is kept by its address alone is not here, but at that address.
    """
    with db.autocommit() as connection:
        file = connection.execute(
            select(Attachment.name, Attachment.content_type, Attachment.content).where(
                Attachment.id == attachment_id,
                Attachment.message_id == message_id,
                Attachment.content.is_not(None),
            )
        ).one_or_none()
    if file is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, "there is no such file of this message")
    is_type = re.fullmatch(MEDIA_TYPE, file.content_type, re.ASCII)
    return Response(
        bytes(file.content),
        content_type=file.content_type if is_type else UNKNOWN_TYPE,
        # Never shown in place: whoever wrote the message chose what is in it.
        headers={
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(file.name, safe='')}"
        },
    )
