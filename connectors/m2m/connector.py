"""Send SMS to Russian numbers through MTS.

The account determines which of two services is used: M2M of MTS Communicator (mode `soap`) or the
HTTP API of MTS Marketolog (mode `omnichannel`). Neither reports the status of a message by itself,
so both are polled. Neither supports idempotency keys.
"""

import re
from collections.abc import Sequence
from typing import ClassVar

from connectors.base import (
    Accepted,
    Channel,
    ErrorCode,
    Inbound,
    OutboundMessage,
    Receipt,
    Rejected,
    SentMessage,
    WebhookKind,
    WebhookRequest,
    WebhookResponse,
)
from connectors.m2m import omnichannel, soap
from connectors.m2m.errors import ERRORS
from connectors.m2m.settings import M2mSettings
from connectors.m2m.webhooks import SUCCESS, read_message, verify_parameter
from connectors.toolkit.http import HttpConnector
from connectors.toolkit.signatures import verify_basic_credentials

# MTS does not publish the maximum number of ids in a request (the fault is TOO_MANY_PARAMETERS).
# The response for this many is well below `response_limit_bytes`.
IDS_PER_REQUEST = 100


class M2m(HttpConnector[M2mSettings]):
    """The connector `m2m`."""

    Settings = M2mSettings
    documentation = (
        "https://support.mts.ru/mts_marketolog/"
        "rassilki-po-svoei-baze-pro-i-api-k-nim/dokumentatsiya-rest-api"
    )
    errors: ClassVar[tuple[ErrorCode, ...]] = ERRORS
    channels: ClassVar[frozenset[Channel]] = frozenset({"sms"})
    can_poll: ClassVar[bool] = True

    def send(self, message: OutboundMessage) -> Accepted:
        number = message.recipient.removeprefix("+")
        if not re.fullmatch(r"7[0-9]{10}", number):
            raise Rejected(
                "recipient_not_allowed", "recipient: not a Russian number. Use +7XXXXXXXXXX."
            )
        if self.settings.mode == "soap":
            return soap.send(self.http, self.settings, number, message)
        return omnichannel.send(self.http, self.settings, number, message)

    def poll(self, messages: Sequence[SentMessage]) -> list[Receipt]:
        ids = [message.provider_message_id for message in messages]
        fetch = soap.fetch_receipts if self.settings.mode == "soap" else omnichannel.fetch_receipts
        return [
            receipt
            for start in range(0, len(ids), IDS_PER_REQUEST)
            for receipt in fetch(self.http, self.settings, ids[start : start + IDS_PER_REQUEST])
        ]

    @property
    def webhooks(self) -> frozenset[WebhookKind]:
        return frozenset({"inbound"} if self.settings.webhook_secrets else ())

    def verify(self, request: WebhookRequest) -> WebhookResponse:
        secrets = [secret.get_secret_value() for secret in self.settings.webhook_secrets]
        if self.settings.webhook_login is None:
            verify_parameter(request, secrets)
        else:
            verify_basic_credentials(request.headers, self.settings.webhook_login, secrets)
        return SUCCESS

    def parse(self, request: WebhookRequest) -> Sequence[Receipt | Inbound]:
        return [read_message(request, self.settings.sender or "")]
