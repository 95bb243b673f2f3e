"""The contract between Postroom and the code for one provider.

Connectors import everything from here; the modules of this package are its parts.
"""

from connectors.base.connector import Connector, ConnectorSettings, OnUncertain, StoreMail
from connectors.base.errors import ErrorCode
from connectors.base.inbound import (
    Inbound,
    Keyword,
    MalformedWebhook,
    RawMail,
    Receipt,
    ReceiptKind,
    ReceiptOrigin,
    Received,
    SentMessage,
    UnsignedWebhook,
    UnverifiedWebhook,
    WebhookError,
    WebhookKind,
    WebhookRequest,
    WebhookResponse,
)
from connectors.base.message import Attachment, AttachmentSource, Channel, OutboundMessage
from connectors.base.outcomes import (
    MAX_RETRY_AFTER,
    Accepted,
    Misconfigured,
    Rejected,
    Reply,
    SendError,
    Suppress,
    Unavailable,
    Uncertain,
)

__all__ = [
    "MAX_RETRY_AFTER",
    "Accepted",
    "Attachment",
    "AttachmentSource",
    "Channel",
    "Connector",
    "ConnectorSettings",
    "ErrorCode",
    "Inbound",
    "Keyword",
    "MalformedWebhook",
    "Misconfigured",
    "OnUncertain",
    "OutboundMessage",
    "RawMail",
    "Receipt",
    "ReceiptKind",
    "ReceiptOrigin",
    "Received",
    "Rejected",
    "Reply",
    "SendError",
    "SentMessage",
    "StoreMail",
    "Suppress",
    "Unavailable",
    "Uncertain",
    "UnsignedWebhook",
    "UnverifiedWebhook",
    "WebhookError",
    "WebhookKind",
    "WebhookRequest",
    "WebhookResponse",
]
