"""Responses of HTTP providers: their text and JSON, and the error that a status stands for.

The status tables follow HTTP (RFC 9110, RFC 6585 for 429 and RFC 8470 for 425). A connector whose
provider has its own error codes looks at those first.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import Any

from connectors.base import MAX_RETRY_AFTER, Misconfigured, Rejected, SendError, Unavailable
from connectors.toolkit.excerpts import excerpt

# A 5xx is Unavailable, not Uncertain: the provider itself reports that it failed. That includes
# 501 and others, which gateways also send during maintenance.
# A redirect is never followed, because the credentials and the message would go to a URL that
# nobody configured. The configured URL is out of date, which affects every message.
OUTCOME_OF_STATUS: Mapping[int, type[SendError]] = {
    401: Misconfigured,
    403: Misconfigured,
    407: Misconfigured,
    408: Unavailable,
    425: Unavailable,
    429: Unavailable,
}
OUTCOME_OF_CLASS: Mapping[int, type[SendError]] = {
    3: Misconfigured,
    4: Rejected,
    5: Unavailable,
}


@dataclass(frozen=True, slots=True)
class Response:
    """A provider's HTTP response.

    Attributes:
        status: The status code.
        headers: The headers; names are compared without regard to case.
        body: The body, at most `response_limit_bytes` of it.
        truncated: Whether the body was longer, or broke off after an error status.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    truncated: bool = False

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        """The body decoded by its declared charset, or else as UTF-8.

        Bytes that cannot be decoded, and characters that PostgreSQL cannot store, become U+FFFD.
        """
        content_type = Message()
        content_type["Content-Type"] = self.headers.get("Content-Type", "")
        try:
            text = self.body.decode(content_type.get_content_charset("utf-8"), "replace")
        except (LookupError, UnicodeError):
            text = self.body.decode("utf-8", "replace")
        # Some charsets decode to lone surrogates, and all of them let NUL through.
        return re.sub("[\0\ud800-\udfff]", "\ufffd", text)

    def json(self) -> Any:
        """Return the body as JSON.

        Raises:
            ValueError: The body is not JSON.
        """
        try:
            return json.loads(self.body)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error

    def json_object(self) -> dict[str, Any]:
        """Return the body as a JSON object; an empty one if the body is anything else."""
        try:
            value = self.json()
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def retry_after(self) -> timedelta | None:
        """The wait that the Retry-After header asks for; None if it is missing or invalid."""
        return parse_retry_after(self.headers.get("Retry-After"), datetime.now(UTC))


def response_error(
    response: Response, hide: Iterable[str | None] = (), text: str | None = None
) -> SendError:
    """Return the error to raise for a response that is not the expected success.

    A 2xx status that the connector did not expect is Rejected: its meaning is unknown.

    Args:
        response: The response. Its status becomes the error's code.
        hide: The values that must not appear in the error's detail.
        text: The provider's explanation, if the connector found one; otherwise the body.
    """
    code = str(response.status)
    detail = excerpt(response.text if text is None else text, hide)
    outcome = OUTCOME_OF_STATUS.get(response.status) or OUTCOME_OF_CLASS.get(response.status // 100)
    if outcome is None:
        return Rejected(code, f"unexpected status; {detail}" if detail else "unexpected status")
    if outcome is Unavailable:
        return Unavailable(code, detail, retry_after=response.retry_after)
    return outcome(code, detail)


def parse_retry_after(value: str | None, now: datetime) -> timedelta | None:
    """Return the wait that a Retry-After value asks for (RFC 9110, 10.2.3).

    Args:
        value: A number of seconds, or an HTTP-date.
        now: The current time.

    Returns:
        The wait, limited to between zero and one day; None if the value is missing or invalid.
    """
    if value is None:
        return None
    try:
        seconds = int(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            return None
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        seconds = int((date - now).total_seconds())
    return timedelta(seconds=min(max(seconds, 0), int(MAX_RETRY_AFTER.total_seconds())))
