"""Read the gateway's responses, which have no error codes besides the HTTP status."""

from collections.abc import Collection, Iterable

from connectors.base import Accepted, Rejected
from connectors.toolkit.http import Response, excerpt, message_id, response_error


def read_response(
    response: Response, success_statuses: Collection[int], hide: Iterable[str]
) -> Accepted:
    """Return the outcome of an accepted message.

    Args:
        response: The gateway's response.
        success_statuses: The HTTP statuses with which the gateway accepts a message.
        hide: Values to replace by `***` in an exception's detail.

    Raises:
        SendError: The gateway did not accept the message.
    """
    fields = response.json_object()
    message = fields.get("message")
    text = message if isinstance(message, str) else None
    if response.status not in success_statuses:
        raise response_error(response, hide, text)
    # The status alone counts as acceptance: sending again because the body cannot be parsed would
    # duplicate the message. Only a message that says otherwise overrides it.
    if text is not None and text.strip().casefold() != "accepted":
        raise Rejected(str(response.status), excerpt(text, hide))
    return Accepted(message_id(fields.get("messageId")), str(response.status))
