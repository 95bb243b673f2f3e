"""Send SMS and MMS through an HTTP gateway.

The gateway takes `{"to", "content"}` and answers 202 with `{"message": "Accepted",
"messageId": …}`. This is the format of the open-source dispatchers auto-message-dispatcher and
outbox-relayer, which differ in the name of the key header (`x-ins-auth-key`, `api-key`). Postroom
adds `attachments`, a list of URLs, for MMS and an `Idempotency-Key` header to every request.
"""

from typing import Any, ClassVar

from connectors.base import Accepted, AttachmentSource, Channel, OutboundMessage, Rejected
from connectors.gateway.errors import read_response
from connectors.gateway.settings import GatewaySettings
from connectors.toolkit.generic_webhooks import WebhookConnector


class Gateway(WebhookConnector[GatewaySettings]):
    """Send SMS and MMS through an HTTP gateway."""

    Settings = GatewaySettings
    channels: ClassVar[frozenset[Channel]] = frozenset({"sms", "mms"})
    attachment_sources: ClassVar[frozenset[AttachmentSource]] = frozenset({"url"})

    def send(self, message: OutboundMessage) -> Accepted:
        limit = self.settings.content_limit_characters
        if limit is not None and len(message.body) > limit:
            raise Rejected(
                "content_too_long", f"{len(message.body)} characters; the limit is {limit}"
            )
        headers = {"Accept": "application/json", "Idempotency-Key": message.uid}
        key = self.settings.key.get_secret_value() if self.settings.key else ""
        if key:
            headers[self.settings.key_header] = key
        response = self.http.request(
            "POST", self.settings.url, headers=headers, json=_content(message)
        )
        hide = [key, message.recipient, message.body]
        return read_response(response, self.settings.success_statuses, hide)


def _content(message: OutboundMessage) -> dict[str, Any]:
    content: dict[str, Any] = {"to": message.recipient, "content": message.body}
    if message.attachments:
        content["attachments"] = [attachment.url for attachment in message.attachments]
    return content
