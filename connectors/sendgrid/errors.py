"""SendGrid's errors and what each one means for the message.

SendGrid has no error codes: the HTTP status decides.
Source: https://www.twilio.com/docs/sendgrid/api-reference/mail-send/errors
"""

import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from connectors.base import (
    ErrorCode,
    Misconfigured,
    OutboundMessage,
    Rejected,
    SendError,
    Unavailable,
    Uncertain,
)
from connectors.toolkit.http import Response, excerpt, parse_retry_after, response_error

SENDER_NOT_VERIFIED = "sender_not_verified"

ERRORS = (
    ErrorCode("400", Rejected, "the request is invalid; the detail names the field"),
    ErrorCode("401", Misconfigured, "the API key is invalid, or the plan's credits are used up"),
    ErrorCode(
        "403", Misconfigured, "access denied, or the agent's sender is not a verified identity"
    ),
    ErrorCode(
        SENDER_NOT_VERIFIED,
        Rejected,
        "403 because the message's own sender is not a verified identity",
    ),
    ErrorCode("404", Misconfigured, "the path does not exist: `base_url` is wrong"),
    ErrorCode("405", Misconfigured, "the method is not allowed: `base_url` is wrong"),
    ErrorCode("406", Misconfigured, "the Accept header is missing: a proxy removed it"),
    ErrorCode("413", Rejected, "the message is too large"),
    ErrorCode("415", Rejected, "the request is not valid UTF-8"),
    ErrorCode("429", Unavailable, "too many requests; retried after X-RateLimit-Reset"),
    ErrorCode("500", Uncertain, "internal error at SendGrid; it may have accepted the message"),
    ErrorCode("502", Unavailable, "SendGrid's gateway cannot reach its servers"),
    ErrorCode("503", Unavailable, "SendGrid is unavailable"),
    ErrorCode("504", Uncertain, "SendGrid's gateway timed out; it may have accepted the message"),
)
BY_CODE: Mapping[str, ErrorCode] = {error.code: error for error in ERRORS}


def classify(response: Response, message: OutboundMessage, hide: Iterable[str | None]) -> SendError:
    """Return the exception for an error response.

    Args:
        response: A response whose status is neither 200 nor 202.
        message: The message that was sent.
        hide: Values to replace by `***` in the exception's detail.
    """
    errors = _errors(response)
    text = "; ".join(f"{field}: {text}" if field else text for field, text in errors) or None
    code = str(response.status)
    fields = {field.partition(".")[0] for field, _ in errors}
    if code == "403" and message.sender and "from" in fields:
        # Otherwise a single message could pause the agent for all others.
        code = SENDER_NOT_VERIFIED
    error = BY_CODE.get(code)
    if error is None:
        return response_error(response, hide, text)
    return error.error(excerpt(text or response.text, hide), _wait(response))


def _errors(response: Response) -> list[tuple[str, str]]:
    """Return field and text of each of `{"errors": [{"field", "message", "help"}]}`."""
    errors = response.json_object().get("errors")
    return [
        (str(error.get("field") or ""), str(error.get("message") or ""))
        for error in (errors if isinstance(errors, list) else [])
        if isinstance(error, dict)
    ]


def _wait(response: Response) -> timedelta | None:
    """Return the wait until X-RateLimit-Reset (in Unix seconds), else that of Retry-After."""
    reset = response.headers.get("X-RateLimit-Reset", "")
    if response.status == 429 and re.fullmatch("[0-9]{1,12}", reset):
        now = datetime.now(UTC)
        return parse_retry_after(str(math.ceil(int(reset) - now.timestamp())), now)
    return response.retry_after
