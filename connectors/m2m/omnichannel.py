"""Send SMS and fetch receipts through the HTTP API of MTS Marketolog ("omnichannel").

Wire format:
https://support.mts.ru/mts_marketolog/rassilki-po-svoei-baze-pro-i-api-k-nim/dokumentatsiya-rest-api
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from connectors.base import (
    Accepted,
    OutboundMessage,
    Receipt,
    ReceiptKind,
    Rejected,
    Unavailable,
)
from connectors.m2m.errors import NOT_ACCEPTED
from connectors.m2m.formats import e164, parse_timestamp
from connectors.m2m.settings import M2mSettings
from connectors.toolkit.http import HttpClient, Response, excerpt, message_id, response_error

# 202 and 302 concern some parts of a long text only. The other parts may still arrive, so the
# message is no more than sent.
KIND_OF_STATUS: Mapping[str, ReceiptKind] = {
    "200": "sent",
    "201": "failed",
    "202": "sent",
    "300": "delivered",
    "301": "bounced",
    "302": "sent",
}


def send(
    http: HttpClient, settings: M2mSettings, number: str, message: OutboundMessage
) -> Accepted:
    """Send a message to a number in the form 7XXXXXXXXXX.

    Raises:
        SendError: MTS did not accept the message.
    """
    sender = message.sender or settings.sender or ""
    response = _post(
        http,
        settings,
        "/messages",
        {
            "messages": [
                {
                    "content": {"short_text": message.body},
                    "to": [{"msisdn": number, "message_id": message.uid}],
                }
            ],
            "options": {"from": {"sms_address": sender.removeprefix("+")}},
        },
    )
    hide = (*settings.secrets, number, message.body)
    fields = _parse(response, hide)
    # A 2xx response without a result is a success too: sending again could duplicate the message.
    result = next(_dicts(fields.get("messages")), {})
    code, internal_id = str(result.get("error_code") or 0), message_id(result.get("internal_id"))
    text = excerpt(str(result.get("error_message") or ""), hide)
    if code != "0":
        raise Rejected(excerpt(code, hide), text)
    if internal_id == "0":
        raise NOT_ACCEPTED.error(text)
    return Accepted(internal_id, str(response.status))


def fetch_receipts(
    http: HttpClient, settings: M2mSettings, ids: Sequence[str]
) -> Iterator[Receipt]:
    """Fetch the receipts of the messages with these ids in one request.

    Raises:
        SendError: MTS did not answer the request.
    """
    response = _post(http, settings, "/messages/info", {"int_ids": list(ids)})
    fields = _parse(response, settings.secrets)
    if not isinstance(fields.get("events_info"), list):
        raise Unavailable("invalid_response", "the response contains no events_info")
    for message in _dicts(fields["events_info"]):
        for event in _dicts(message.get("events_info")):
            internal_id = message_id(event.get("internal_id") or message.get("key"))
            if internal_id:
                yield _receipt(internal_id, event)


def _receipt(internal_id: str, event: Mapping[str, Any]) -> Receipt:
    status, event_at = str(event.get("status")), event.get("event_at")
    destination, errors = event.get("destination"), event.get("internal_errors")
    return Receipt(
        key=f"{internal_id}:{status}:{event_at}",
        kind=KIND_OF_STATUS.get(status, "unrecognised"),
        provider_message_id=internal_id,
        message_uid=message_id(event.get("message_id")),
        recipient=e164(str(destination)) if destination else None,
        occurred_at=parse_timestamp(event_at),
        code=status,
        detail=excerpt(f"internal errors: {errors}") if errors else None,
        payload=event,
    )


def _post(http: HttpClient, settings: M2mSettings, path: str, content: Any) -> Response:
    headers = {"Accept": "application/json", "Authorization": f"Basic {settings.basic_credentials}"}
    return http.request("POST", settings.service_url + path, headers=headers, json=content)


def _parse(response: Response, hide: Sequence[str]) -> dict[str, Any]:
    """Return the JSON object of a 2xx response, or an empty one if the body contains none.

    Raises:
        SendError: The status is not 2xx.
    """
    fields = response.json_object()
    if not response.is_success:
        text = fields.get("message")
        raise response_error(response, hide, text if isinstance(text, str) else None)
    return fields


def _dicts(value: object) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON array, skipping everything else."""
    yield from (
        item for item in (value if isinstance(value, list) else ()) if isinstance(item, dict)
    )
