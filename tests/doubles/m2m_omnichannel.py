"""The HTTP API of MTS Marketolog at `/m2m/http-api/v1`: `messages` and `messages/info`.

Only requests with a single message and recipient are supported.

https://support.mts.ru/mts_marketolog/rassilki-po-svoei-baze-pro-i-api-k-nim/dokumentatsiya-rest-api
"""

import base64
import hmac
import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, StrictStr, ValidationError

from sandbox.provider import Delivery, Request, Response, ResponseError, json_response
from sandbox.received import truncate
from tests.doubles.m2m_messages import LOGIN, PASSWORD, Messages

# Status codes by M2M name. A pending message has no event yet.
NUMBERS = {"Sent": 200, "Delivered": 300, "NotDelivered": 301}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Content(_Part):
    short_text: StrictStr = Field(min_length=1)


class _To(_Part):
    msisdn: StrictStr
    message_id: StrictStr = ""


class _From(_Part):
    sms_address: StrictStr = Field(min_length=1)


class _Message(_Part):
    content: _Content
    to: list[_To] = Field(min_length=1, max_length=1)


class _Options(_Part):
    from_: _From = Field(alias="from")


class _SendRequest(_Part):
    messages: list[_Message] = Field(min_length=1, max_length=1)
    options: _Options


class _InfoRequest(_Part):
    int_ids: list[StrictStr] = Field(min_length=1)


def read_omnichannel(request: Request, path: str, messages: Messages) -> Delivery | Response:
    """Return the message of a request to `messages`, or the response to `messages/info`.

    Raises:
        ResponseError: The request is not valid.
    """
    if path not in {"/messages", "/messages/info"}:
        raise _error(404, "no such resource")
    if request.method != "POST":
        raise _error(405, "method not allowed. Use POST.")
    expected = "Basic " + base64.b64encode(f"{LOGIN}:{PASSWORD}".encode()).decode()
    given = request.headers.get("authorization", "")
    if not hmac.compare_digest(given.encode(), expected.encode()):
        raise _error(401, "wrong or missing credentials")
    if request.media_type() != "application/json":
        raise _error(415, "expected application/json")
    try:
        if path == "/messages/info":
            info = _InfoRequest.model_validate_json(request.body)
            return json_response(200, _events(info.int_ids, messages))
        return _message(request, _SendRequest.model_validate_json(request.body), messages)
    except ValidationError as invalid:
        first = invalid.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise _error(400, f"{where}: {first['msg']}") from None


def _message(request: Request, send: _SendRequest, messages: Messages) -> Delivery | Response:
    [message], naming = send.messages, send.options.from_.sms_address
    [to] = message.to
    answer: dict[str, Any] = {"message_id": to.message_id, "msisdn": to.msisdn}
    if not re.fullmatch("7[0-9]{10}", to.msisdn):
        # An error of one message is reported within a successful response.
        answer |= {"internal_id": "0", "error_code": 1, "error_message": "incorrect msisdn"}
        return json_response(200, {"messages": [answer]})
    message_id = str(messages.add(to.msisdn, naming, to.message_id))
    answer |= {"internal_id": message_id, "error_code": 0, "error_message": ""}
    return Delivery(
        to=f"+{to.msisdn}",
        key=to.message_id or None,
        details={
            "to": f"+{to.msisdn}",
            "content": truncate(message.content.short_text),
            "naming": naming,
            "message_id": message_id,
            "headers": request.recorded_headers(),
        },
        response=json_response(200, {"messages": [answer]}),
    )


def _events(ids: list[str], messages: Messages) -> dict[str, Any]:
    """Return all events so far of the messages that exist."""
    known = [one for one in ids if re.fullmatch("[0-9]{1,19}", one) and messages.has(int(one))]
    found = []
    for one in known:
        sent = messages.advance(int(one))
        events = [
            {
                "status": NUMBERS[status],
                "event_at": at.isoformat(),
                "received_at": at.isoformat(),
                "internal_id": one,
                "message_id": sent.client_id,
                "destination": sent.msid,
                "naming": sent.naming,
                "channel": 1,
                "total_parts": 1,
                "internal_errors": [],
            }
            for status, at in sent.history
            if status in NUMBERS
        ]
        found.append({"key": one, "events_info": events})
    return {"events_info": found}


def _error(status: int, message: str) -> ResponseError:
    return ResponseError(json_response(status, {"code": status, "message": message}))
