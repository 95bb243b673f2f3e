from typing import Any

from connectors.base import Accepted, Connector, OutboundMessage, SendError


def outcome(connector: Connector[Any], message: OutboundMessage) -> Accepted | SendError:
    """Send a message and return what `send` returned or raised."""
    try:
        return connector.send(message)
    except SendError as error:
        return error
