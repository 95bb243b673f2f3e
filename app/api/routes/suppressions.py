"""Manage the suppression list."""

from http import HTTPStatus

from app import db, suppression
from app.api import security
from app.api.operations import Answer, Operation, Section
from app.errors import NotFoundError
from app.queries import suppressions as queries
from app.queries.suppressions import SuppressionPage, SuppressionQuery, SuppressionView
from app.submission.suppressions import SuppressionRequest, suppress

section = Section("suppressions")


@section.serve(
    Operation(
        "GET",
        "/api/suppressions",
        {HTTPStatus.OK: SuppressionPage},
        scope="read",
        query=SuppressionQuery,
    )
)
def list_suppressions(query: SuppressionQuery) -> SuppressionPage:
    """List suppressed addresses, newest first."""
    with db.autocommit() as connection:
        return queries.list_suppressions(connection, query)


@section.serve(
    Operation(
        "POST",
        "/api/suppressions",
        {HTTPStatus.CREATED: SuppressionView, HTTPStatus.OK: SuppressionView},
        scope="operate",
        body=SuppressionRequest,
    )
)
def add_suppression(body: SuppressionRequest) -> Answer:
    """Add an address to the suppression list.

    New messages to it are rejected, and waiting ones fail. An address has one entry for each
    reason. If it is already on the list for this reason, the response is 200 with the existing
    entry, which is not changed.
    """
    with db.autocommit() as connection:
        entry, is_new = suppress(connection, body, by=security.client().name)
    status = HTTPStatus.CREATED if is_new else HTTPStatus.OK
    return Answer(SuppressionView.model_validate(entry), status)


@section.serve(
    Operation(
        "DELETE",
        "/api/suppressions/<id:suppression_id>",
        {HTTPStatus.OK: SuppressionView},
        scope="operate",
    )
)
def remove_suppression(suppression_id: int) -> SuppressionView:
    """Remove an entry from the suppression list.

    The response is the removed entry. The address stays suppressed if it has entries for other
    reasons. Messages that failed because of the removed entry can then be replayed.
    """
    with db.autocommit() as connection:
        entry = suppression.remove(connection, suppression_id)
    if entry is None:
        raise NotFoundError(f"There is no suppression {suppression_id}.")
    return SuppressionView.model_validate(entry)
