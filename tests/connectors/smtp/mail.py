"""Messages for the tests of the SMTP connector."""

from typing import Any

import pytest

from connectors.base import OutboundMessage, SendError
from connectors.smtp.connector import Smtp

ANN, BOB, CY = "ann@example.com", "bob@example.com", "cy@example.com"
CREDENTIALS = {"username": "tim", "password": "tanstaaftanstaaf"}


def mail(**fields: Any) -> OutboundMessage:
    defaults = {"id": 1, "uid": "018f-1", "channel": "email", "recipient": ANN, "body": "Hello"}
    return OutboundMessage(**{**defaults, **fields})


def failure(connector: Smtp, message: OutboundMessage) -> SendError:
    with pytest.raises(SendError) as caught:
        connector.send(message)
    return caught.value
