"""The suppression list as callers meet it: reject messages to it, add addresses to it by hand."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import ConfigDict, Field
from sqlalchemy import Connection

from app import addresses, suppression
from app.errors import FieldError, InvalidError
from app.fields import ONE_LINE, Request
from app.settings import settings
from app.submission.schema import Recipient
from app.submission.submission import Submission
from app.suppression import Reason
from connectors.base import Channel


class SuppressionRequest(Request):
    """An address to add to the suppression list."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"channel": "email", "address": "ann@example.org", "detail": "asked by phone"}
            ]
        }
    )

    channel: Channel = Field(description="SMS and MMS share their suppressions.")
    address: Recipient = Field(description="Written as in `to` of a message.")
    reason: Reason = "manual"
    detail: Annotated[str, Field(max_length=500), ONE_LINE] | None = None


def find_suppressed(
    connection: Connection, submissions: Sequence[Submission]
) -> list[list[FieldError]]:
    """Return, for each submission, an error for every recipient on the suppression list.

    All submissions are looked up in one statement.
    """
    recipients = [_recipients(submission) for submission in submissions]
    found = suppression.find(connection, {key for keys in recipients for key in keys.values()})
    return [
        [FieldError(field, str(found[key])) for field, key in keys.items() if key in found]
        for keys in recipients
    ]


def check_suppressions(connection: Connection, submission: Submission) -> None:
    """Check that no recipient is on the suppression list.

    Raises:
        InvalidError: Some are; the errors name their entries.
    """
    [errors] = find_suppressed(connection, [submission])
    if errors:
        raise InvalidError(errors)


def suppress(
    connection: Connection, request: SuppressionRequest, *, by: str
) -> tuple[suppression.Entry, bool]:
    """Add an address to the suppression list; return its entry and whether it is new.

    Raises:
        InvalidError: The address is not valid on the channel.
    """
    try:
        address = addresses.normalise(request.channel, request.address, settings().phone_region)
    except ValueError as error:
        raise InvalidError([FieldError("address", str(error))]) from None
    return suppression.add(
        connection,
        suppression.key(request.channel, address),
        reason=request.reason,
        by=by,
        detail=request.detail,
    )


def _recipients(submission: Submission) -> dict[str, suppression.Key]:
    """Return the suppression key of each recipient, by the field that names it."""
    recipients = {"to": submission.recipient}
    recipients |= {f"cc[{index}]": address for index, address in enumerate(submission.cc)}
    recipients |= {f"bcc[{index}]": address for index, address in enumerate(submission.bcc)}
    return {
        field: suppression.key(submission.channel, address) for field, address in recipients.items()
    }
