"""The HTTP API of MTS Marketolog ("omnichannel"): JSON, Basic credentials, an outcome a message.

https://support.mts.ru/mts_marketolog/rassilki-po-svoei-baze-pro-i-api-k-nim/dokumentatsiya-rest-api
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from connectors.base import (
    Accepted,
    ErrorCode,
    OutboundMessage,
    Receipt,
    ReceiptKind,
    Rejected,
    Unavailable,
)
from connectors.m2m.replies import e164, moment
from connectors.m2m.settings import M2mSettings
from connectors.toolkit.http import HttpClient
from connectors.toolkit.http.replies import Response, excerpt, message_id, response_error

NOT_SUPPORTED = ErrorCode("not_taken", Rejected, "omnichannel: internal id 0, without an error code")
ERRORS = (NOT_SUPPORTED,)

# Partly means: some parts of a long text. Such a message cannot be read yet, and more of it may
# still arrive, so that it is no more than sent.
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
    """Send the text to `number`, 7XXXXXXXXXX. Raises a SendError."""
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
    reply = _fields(response, hide)
    # A success without a legible outcome is one all the same: resending would double the message.
    outcome = next(_dicts(reply.get("messages")), {})
    code, taken_as = str(outcome.get("error_code") or 0), message_id(outcome.get("internal_id"))
    said = excerpt(str(outcome.get("error_message") or ""), hide)
    if code != "0":
        # The codes are published for the account's owner alone. The call itself was taken.
        raise Rejected(excerpt(code, hide), said)
    if taken_as == "0":
        raise NOT_SUPPORTED.error(said)
    return Accepted(taken_as, str(response.status))


def statuses(http: HttpClient, settings: M2mSettings, ids: Sequence[str]) -> Iterator[Receipt]:
    """Ask what became of the messages of these ids, in one call. Raises a SendError."""
    response = _post(http, settings, "/messages/info", {"int_ids": list(ids)})
    reply = _fields(response, settings.secrets)
    if not isinstance(reply.get("events_info"), list):
        raise Unavailable("illegible_reply", "no events_info in a reply of success")
    for of_one_message in _dicts(reply["events_info"]):
        for event in _dicts(of_one_message.get("events_info")):
            internal_id = message_id(event.get("internal_id") or of_one_message.get("key"))
            if internal_id:
                yield _receipt(internal_id, event)


def _receipt(internal_id: str, event: Mapping[str, Any]) -> Receipt:
    status, at = str(event.get("status")), event.get("event_at")
    destination, errors = event.get("destination"), event.get("internal_errors")
    return Receipt(
        key=f"{internal_id}:{status}:{at}",
        kind=KIND_OF_STATUS.get(status, "unrecognised"),
        provider_message_id=internal_id,
        message_uid=message_id(event.get("message_id")),
        recipient=e164(str(destination)) if destination else None,
        occurred_at=moment(at),
        code=status,
        detail=excerpt(f"internal errors: {errors}") if errors else None,
        payload=event,
    )


def _post(http: HttpClient, settings: M2mSettings, path: str, content: Any) -> Response:
    headers = {"Accept": "application/json", "Authorization": f"Basic {settings.basic}"}
    return http.request("POST", settings.address + path, headers=headers, json=content)


def _fields(response: Response, hide: Sequence[str]) -> dict[str, Any]:
    """The object of a success, empty where its body holds none. Raises what any other status
    stands for."""
    try:
        reply = response.json()
    except ValueError:
        reply = None
    fields = reply if isinstance(reply, dict) else {}
    if not 200 <= response.status < 300:
        said = fields.get("message")
        raise response_error(response, hide, said if isinstance(said, str) else None)
    return fields


def _dicts(value: object) -> Iterator[dict[str, Any]]:
    return (one for one in value if isinstance(one, dict)) if isinstance(value, list) else iter(())
