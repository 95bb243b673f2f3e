"""Twilio's error codes and what each one means for the message.

The table lists the codes, from https://www.twilio.com/docs/api/errors, that can affect a message
and say more than the HTTP status. Twilio keeps adding codes: an unknown code in an error response
rejects the message, an unknown code in a status report does not change what the report means.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta

from connectors.base import ErrorCode, Misconfigured, Rejected, SendError, Unavailable
from connectors.toolkit.http import Response, excerpt, response_error

# A full queue or a phone that is switched off does not recover within seconds.
_UNREACHABLE_WAIT = timedelta(minutes=10)
_ACCOUNT_LIMIT_WAIT = timedelta(hours=1)
_CHANNEL_LIMIT_WAIT = timedelta(hours=4)

ERRORS = (
    # Returned by the API.
    ErrorCode("20003", Misconfigured, "invalid credentials"),
    ErrorCode("20404", Misconfigured, "the account does not exist, or `base_url` is wrong"),
    ErrorCode("20429", Unavailable, "too many concurrent requests; the request was not processed"),
    ErrorCode("20500", Unavailable, "internal error at Twilio"),
    ErrorCode("21211", Rejected, "the recipient is not a valid phone number"),
    ErrorCode("21212", Rejected, "the sender is not a valid phone number"),
    ErrorCode("21408", Rejected, "the account is not enabled for the recipient's region"),
    ErrorCode("21602", Rejected, "the message has no content"),
    ErrorCode("21603", Rejected, "the message has no sender"),
    ErrorCode("21606", Rejected, "the sender cannot send this type of message"),
    ErrorCode("21608", Rejected, "a trial account can send only to verified numbers"),
    ErrorCode("21609", Misconfigured, "`status_callback` is not a URL that Twilio accepts"),
    ErrorCode("21610", Rejected, "the recipient has opted out (STOP)", suppress="opt_out"),
    ErrorCode("21611", Unavailable, "the sender's 10-hour queue is full", _UNREACHABLE_WAIT),
    ErrorCode("21612", Rejected, "Twilio has no route from this sender to this recipient"),
    ErrorCode("21614", Rejected, "the recipient is not a mobile number"),
    ErrorCode("21617", Rejected, "the text is longer than 1600 characters"),
    ErrorCode("21635", Rejected, "the recipient is a landline"),
    ErrorCode("21658", Rejected, "a parameter is too long"),
    ErrorCode("21659", Rejected, "the sender is not a Twilio number"),
    ErrorCode("21660", Rejected, "the sender belongs to another account"),
    ErrorCode("35125", Unavailable, "too many scheduled messages", _ACCOUNT_LIMIT_WAIT),
    # Reported after the message was accepted.
    ErrorCode("30001", Unavailable, "the 10-hour queue overflowed", _UNREACHABLE_WAIT),
    ErrorCode("30002", Misconfigured, "the account is suspended"),
    ErrorCode("30003", Unavailable, "the phone is switched off or unreachable", _UNREACHABLE_WAIT),
    ErrorCode("30004", Rejected, "the carrier or the recipient blocked the message"),
    ErrorCode("30005", Rejected, "the recipient's number does not exist", suppress=True),
    ErrorCode("30006", Rejected, "the recipient is a landline or on an unreachable carrier"),
    ErrorCode("30007", Rejected, "the carrier filtered the message as spam"),
    ErrorCode("30008", Unavailable, "the carrier gave no reason", _UNREACHABLE_WAIT),
    ErrorCode("30010", Rejected, "the message costs more than the maximum price"),
    ErrorCode(
        "30022", Unavailable, "the carrier's rate limit was exceeded (US 10DLC)", _UNREACHABLE_WAIT
    ),
    ErrorCode("30034", Misconfigured, "the sender is not registered (US 10DLC)"),
    ErrorCode("30450", Rejected, "blocked as SMS pumping fraud"),
    # Specific to channels such as WhatsApp.
    ErrorCode("63016", Rejected, "WhatsApp accepts free-form text only within its 24-hour window"),
    ErrorCode("63017", Unavailable, "the channel's rate limit was exceeded"),
    ErrorCode("63018", Unavailable, "the channel's 24-hour limit was reached", _CHANNEL_LIMIT_WAIT),
    ErrorCode("63038", Unavailable, "the account's 24-hour limit was reached", _ACCOUNT_LIMIT_WAIT),
)
BY_CODE: Mapping[str, ErrorCode] = {error.code: error for error in ERRORS}


def classify(response: Response, hide: Iterable[str | None]) -> SendError:
    """Return the exception for an error response.

    The error code decides if it is in the table, otherwise the HTTP status. The body contains
    `code` and `message`, or is a problem document with `code`, `title` and `detail` (RFC 9457).

    Args:
        response: A response whose status is not 2xx.
        hide: Values to replace by `***` in the exception's detail.
    """
    fields = response.json_object()
    code = str(fields.get("code"))
    texts = (fields.get(name) for name in ("message", "detail", "title"))
    text = next((text for text in texts if isinstance(text, str)), None)
    hide = tuple(hide)
    if error := BY_CODE.get(code):
        return error.error(excerpt(text or "", hide), response.retry_after)
    by_status = response_error(response, hide, text)
    # With an error code, a 403 concerns this message only, so it must not pause the agent.
    is_final = isinstance(by_status, Rejected) or response.status == 403
    if is_final and re.fullmatch(r"\d{5}", code):
        return Rejected(code, by_status.detail)
    return by_status
