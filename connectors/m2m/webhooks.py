"""Verify and read the webhook with which M2M forwards an inbound message.

MTS documents it only to account owners; the format is taken from other implementations. It is a
GET request with `msid` and `message` in the query, and must be answered with an OperationResult.
MTS does not sign it, so the registered URL contains a secret, as a query parameter or as the
password of Basic credentials.
"""

from collections.abc import Sequence

from connectors.base import (
    Inbound,
    MalformedWebhook,
    UnsignedWebhook,
    UnverifiedWebhook,
    WebhookRequest,
    WebhookResponse,
)
from connectors.m2m.formats import e164
from connectors.toolkit.signatures import is_any_equal

SECRET_PARAMETER = "secret"  # noqa: S105 - the name of a query parameter

SUCCESS = WebhookResponse(
    200,
    b'<?xml version="1.0" encoding="utf-8"?>\n'
    b'<OperationResult xmlns="http://mcommunicator.ru/M2M/">'
    b"<code>0</code><description>OK</description></OperationResult>",
    "text/xml; charset=utf-8",
)


def verify_parameter(request: WebhookRequest, secrets: Sequence[str]) -> None:
    """Check that the query contains one of the secrets.

    Raises:
        UnsignedWebhook: The query contains no secret.
        UnverifiedWebhook: The secret is wrong or repeated.
    """
    given = [value for name, value in request.query if name == SECRET_PARAMETER]
    if not given:
        raise UnsignedWebhook(f"the query parameter {SECRET_PARAMETER} is missing")
    if len(given) > 1 or not is_any_equal(given[0], secrets):
        raise UnverifiedWebhook(f"the query parameter {SECRET_PARAMETER} is wrong")


def read_message(request: WebhookRequest, recipient: str) -> Inbound:
    """Return the inbound message of a verified request.

    Args:
        request: The verified request.
        recipient: The number to record as the recipient, which the request does not contain.

    Raises:
        MalformedWebhook: The request is not one that MTS makes.
    """
    fields = {name: value for name, value in request.query if name != SECRET_PARAMETER}
    number, text = fields.pop("msid", "").strip(), fields.pop("message", None)
    if request.method != "GET" or not number or text is None:
        raise MalformedWebhook("not a GET request with the query parameters msid and message")
    return Inbound(
        # The request contains no id, and the same text sent twice may be two messages. Storing a
        # repeated request twice is better than losing a message.
        key=f"{number}:{request.received_at.isoformat()}",
        channel="sms",
        sender=e164(number),
        recipient=recipient,
        body=text,
        metadata=fields,
    )
