from typing import Any

from connectors.base import Connector, Received, WebhookError, WebhookRequest


def outcome(connector: Connector[Any], request: WebhookRequest) -> Received | WebhookError:
    """Pass a webhook to a connector and return what `receive` returned or raised."""
    try:
        return connector.receive(request)
    except WebhookError as error:
        return error
