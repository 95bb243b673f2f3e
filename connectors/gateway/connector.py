"""The HTTP gateway: a webhook that takes `{"to", "content"}` and answers 202 `{"message":
"Accepted", "messageId": …}`.

The format is that of the open-source dispatchers auto-message-dispatcher and outbox-relayer, who
differ in the name of the key's header (`x-ins-auth-key`, `api-key`). MMS adds `attachments`, a
list of addresses, and every request an `Idempotency-Key`.
"""

from typing import Annotated, Any, ClassVar

from pydantic import Field

from connectors.base import Accepted, AttachmentSource, Channel, OutboundMessage, Rejected
from connectors.toolkit.generic_webhooks import WebhookConnector, WebhookSettings
from connectors.toolkit.http import HeaderName, HeaderSecret, HttpUrl
from connectors.toolkit.http.replies import Response, excerpt, message_id, response_error


class GatewaySettings(WebhookSettings):
    """Where the gateway is and how it knows us."""

    url: HttpUrl
    """The gateway's address, which every message is posted to."""
    key: HeaderSecret | None = None
    """Our key there. Without one, no key header is sent."""
    key_header: HeaderName = "x-ins-auth-key"
    """The header that carries the key."""
    success_statuses: frozenset[Annotated[int, Field(ge=200, le=299)]] = Field(
        default=frozenset({202}), min_length=1
    )
    """The statuses by which the gateway takes a message."""
    content_limit_characters: int | None = Field(default=None, gt=0)
    """The longest text that the gateway takes. Longer ones are refused before they are sent."""


class Gateway(WebhookConnector[GatewaySettings]):
    """Sends SMS and MMS through an HTTP gateway."""

    Settings = GatewaySettings
    channels: ClassVar[frozenset[Channel]] = frozenset({"sms", "mms"})
    attachment_sources: ClassVar[frozenset[AttachmentSource]] = frozenset({"url"})

    def send(self, message: OutboundMessage) -> Accepted:
        limit = self.settings.content_limit_characters
        if limit is not None and len(message.body) > limit:
            raise Rejected("content_too_long", f"{len(message.body)} of {limit} characters")
        headers = {"Accept": "application/json", "Idempotency-Key": message.uid}
        key = self.settings.key.get_secret_value() if self.settings.key else ""
        if key:
            headers[self.settings.key_header] = key
        response = self.http.request(
            "POST", self.settings.url, headers=headers, json=_content(message)
        )
        return self._outcome(response, hide=(key, message.recipient, message.body))

    def _outcome(self, response: Response, hide: tuple[str, ...]) -> Accepted:
        try:
            reply = response.json()
        except ValueError:
            reply = None
        fields = reply if isinstance(reply, dict) else {}
        said = fields.get("message")
        text = said if isinstance(said, str) else None
        if response.status not in self.settings.success_statuses:
            raise response_error(response, hide, text)
        # The status alone is a promise. Resending because its body is illegible would double the
        # message, so only a body that legibly says something else takes the promise back.
        if text is not None and text.strip().casefold() != "accepted":
            raise Rejected(str(response.status), excerpt(text, hide))
        return Accepted(message_id(fields.get("messageId")), str(response.status))


def _content(message: OutboundMessage) -> dict[str, Any]:
    content: dict[str, Any] = {"to": message.recipient, "content": message.body}
    if message.attachments:
        content["attachments"] = [attachment.url for attachment in message.attachments]
    return content
