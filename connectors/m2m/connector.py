"""MTS Communicator: SMS to Russian numbers, over either of the two services of MTS.

The account's service decides the mode: `soap` for M2M (connectors/soap.py), `omnichannel` for
the HTTP API of MTS Marketolog (connectors/omnichannel.py). Neither calls back about what it
has sent, so both are polled. Neither takes an idempotency key.

M2M hands a message from outside to a webhook: GET with `msid` and `message` in the query, to be
answered with an OperationResult. It does not sign, so the address it is given, or the Basic
credentials in it, hold a secret.
"""

import base64
import hmac
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar

from connectors.base import (
    Accepted,
    Channel,
    ErrorCode,
    Inbound,
    MalformedWebhook,
    OutboundMessage,
    Receipt,
    Received,
    Rejected,
    SentMessage,
    UnsignedWebhook,
    UnverifiedWebhook,
    WebhookKind,
    WebhookRequest,
    WebhookResponse,
)
from connectors.m2m import omnichannel, soap
from connectors.m2m.replies import e164
from connectors.m2m.settings import M2mSettings, Mode
from connectors.toolkit.http import HttpClient, HttpConnector

# How many ids a call may hold is not published (the fault is TOO_MANY_PARAMETERS). This many are
# answered well within the limit of a reply.
IDS_PER_CALL = 100

TAKEN = WebhookResponse(
    200,
    b'<?xml version="1.0" encoding="utf-8"?>\n'
    b'<OperationResult xmlns="http://mcommunicator.ru/M2M/">'
    b"<code>0</code><description>OK</description></OperationResult>",
    "text/xml; charset=utf-8",
)

_SEND: Mapping[Mode, Callable[[HttpClient, M2mSettings, str, OutboundMessage], Accepted]] = {
    "soap": soap.send,
    "omnichannel": omnichannel.send,
}
_STATUSES: Mapping[Mode, Callable[[HttpClient, M2mSettings, Sequence[str]], Iterator[Receipt]]] = {
    "soap": soap.statuses,
    "omnichannel": omnichannel.statuses,
}


class M2m(HttpConnector[M2mSettings]):
    """Sends SMS through MTS, and asks it what became of them."""

    Settings = M2mSettings
    documentation = (
        "https://support.mts.ru/mts_marketolog/"
        "rassilki-po-svoei-baze-pro-i-api-k-nim/dokumentatsiya-rest-api"
    )
    errors: ClassVar[tuple[ErrorCode, ...]] = (*soap.FAULTS, *omnichannel.ERRORS)
    channels: ClassVar[frozenset[Channel]] = frozenset({"sms"})
    polls = True

    def send(self, message: OutboundMessage) -> Accepted:
        number = message.recipient.removeprefix("+")
        if not re.fullmatch(r"7[0-9]{10}", number):
            raise Rejected("recipient_not_allowed", "not a number of the form +7XXXXXXXXXX")
        return _SEND[self.settings.mode](self.http, self.settings, number, message)

    def poll(self, messages: Sequence[SentMessage]) -> list[Receipt]:
        ids = [message.provider_message_id for message in messages]
        ask = _STATUSES[self.settings.mode]
        return [
            receipt
            for start in range(0, len(ids), IDS_PER_CALL)
            for receipt in ask(self.http, self.settings, ids[start : start + IDS_PER_CALL])
        ]

    @property
    def webhooks(self) -> frozenset[WebhookKind]:
        return frozenset({"inbound"} if self.settings.webhook_secrets else ())

    def receive(self, request: WebhookRequest) -> Received:
        self._verify(request)
        said = {name: value for name, value in request.query if name != "secret"}
        number, text = said.pop("msid", "").strip(), said.pop("message", None)
        if request.method != "GET" or not number or text is None:
            raise MalformedWebhook("expected GET with msid and message")
        inbound = Inbound(
            # The call brings no id, and who answers "yes" twice may mean it twice: to keep a
            # repeated call twice is better than to lose a message.
            key=f"{number}:{request.received_at.isoformat()}",
            channel="sms",
            sender=e164(number),
            recipient=self.settings.sender or "",
            body=text,
            metadata=said,
        )
        return Received([inbound], TAKEN)

    def _verify(self, request: WebhookRequest) -> None:
        """Raises UnsignedWebhook or UnverifiedWebhook."""
        login = self.settings.webhook_login
        if login is None:
            given = [value.encode() for name, value in request.query if name == "secret"]
            prefix = ""
        else:
            scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
            given = [_decoded(encoded)] if scheme.lower() == "basic" else []
            prefix = f"{login}:"
        if not given:
            raise UnsignedWebhook("no secret" if login is None else "no Basic credentials")
        known = [prefix + secret.get_secret_value() for secret in self.settings.webhook_secrets]
        matches = [hmac.compare_digest(given[0], one.encode()) for one in known]
        if len(given) > 1 or not any(matches):
            raise UnverifiedWebhook("wrong secret" if login is None else "wrong Basic credentials")


def _decoded(credentials: str) -> bytes:
    try:
        return base64.b64decode(credentials, validate=True)
    except ValueError:
        raise UnverifiedWebhook("the Basic credentials are no base64") from None
