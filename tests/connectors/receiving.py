from datetime import UTC, datetime
from typing import Any

from connectors.base import Connector, Received, WebhookError, WebhookKind, WebhookRequest
from tests.doubles.webhook_listener import WebhookListener


def outcome(connector: Connector[Any], request: WebhookRequest) -> Received | WebhookError:
    """Pass a webhook to a connector and return what `receive` returned or raised."""
    try:
        return connector.receive(request)
    except WebhookError as error:
        return error


def next_webhook(listener: WebhookListener, kind: WebhookKind) -> WebhookRequest:
    """Wait for the next request to a listener and return it as a connector receives it."""
    call = listener.next_call()
    url = listener.url + call.path
    return WebhookRequest(kind, call.method, url, call.headers, call.body, datetime.now(UTC))
