"""What an HTTP provider's reply means: its text, the outcome its status stands for, a safe excerpt.

The table below is the common reading of HTTP (RFC 9110, RFC 6585 and RFC 8470 for 425 and 429).
A connector whose provider has codes of its own looks at those first.
"""

import html
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import Any

from connectors.base import Misconfigured, Rejected, SendError, Unavailable

EXCERPT_CHARACTERS = 200
MAX_IGNORING_CASE = 1000
MAX_MESSAGE_ID = 255
MAX_RETRY_AFTER = timedelta(days=1)

# A 5xx is a full reply: the provider itself says that it failed, so it is Unavailable, not
# Uncertain. 501 and the like are no exception: they come from gateways under maintenance too.
# A redirect is never followed, since it would carry credentials and the message to an address
# nobody configured; it means that the configured one is out of date, for every message alike.
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
    """A provider's reply. Header names compare without case. `truncated` says that there was
    more body than `response_limit_bytes`, or that it broke off after an error status.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    truncated: bool = False

    @property
    def text(self) -> str:
        """The body as text by its declared charset, else UTF-8; what is no text becomes U+FFFD."""
        content_type = Message()
        content_type["Content-Type"] = self.headers.get("Content-Type", "")
        try:
            text = self.body.decode(content_type.get_content_charset("utf-8"), "replace")
        except (LookupError, UnicodeError):
            text = self.body.decode("utf-8", "replace")
        # Some charsets decode to lone surrogates, and NUL passes through all of them; neither
        # can be stored as text.
        return re.sub("[\0\ud800-\udfff]", "\ufffd", text)

    def json(self) -> Any:
        """The body as JSON. Raises ValueError where it is none."""
        try:
            return json.loads(self.body)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error

    def json_object(self) -> dict[str, Any]:
        """Return the body as a JSON object; an empty one if the body is anything else."""
        try:
            document = self.json()
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    @property
    def retry_after(self) -> timedelta | None:
        """The wait that the Retry-After header asks for; None if it is missing or invalid."""
        return parse_retry_after(self.headers.get("Retry-After"), datetime.now(UTC))


def message_id(value: object) -> str | None:
    """A provider's id of a message, as text fit for a record: a text or a number of its JSON."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return printable(str(value))[:MAX_MESSAGE_ID] or None


def printable(text: str) -> str:
    """`text` with each run of control and other unprintable characters as one space."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def excerpt(text: str, hide: Iterable[str | None] = ()) -> str:
    """The beginning of a provider's text, fit for logs and records: at most 200 characters, one
    line, and every value of `hide` (our secrets, the recipient, the content) as `***`.
    """
    # What is longer than the text cannot be in it, and to look for a long body takes long.
    shorter = [value for value in hide if value and len(value) <= len(text)]
    forms = {form for value in shorter for form in _forms(value)}
    for form in sorted(forms, key=len, reverse=True):
        if len(form) > MAX_IGNORING_CASE:
            text = text.replace(form, "***")
        else:
            text = re.sub(re.escape(form), "***", text, flags=re.IGNORECASE)
    text = printable(text)
    return text if len(text) <= EXCERPT_CHARACTERS else text[: EXCERPT_CHARACTERS - 1] + "…"


def _forms(value: str) -> set[str]:
    """How a provider may echo `value`: as it is, in JSON, in XML or HTML, or as a number without
    its plus."""
    bare = value.removeprefix("+") or value
    in_json = {json.dumps(bare)[1:-1], json.dumps(bare, ensure_ascii=False)[1:-1]}
    return {bare, *in_json, html.escape(bare), html.escape(bare, quote=False)}


def response_error(
    response: Response, hide: Iterable[str | None] = (), text: str | None = None
) -> SendError:
    """The error that a reply without success stands for, to be raised.

    Its code is the status, its detail an excerpt of `text`, or of the body where there is none,
    without the values of `hide`. A success status that the connector did not expect is Rejected:
    nobody knows what it promises.
    """
    code = str(response.status)
    detail = excerpt(response.text if text is None else text, hide)
    outcome = OUTCOME_OF_STATUS.get(response.status) or OUTCOME_OF_CLASS.get(response.status // 100)
    if outcome is None:
        return Rejected(code, f"unexpected status; {detail}" if detail else "unexpected status")
    if outcome is Unavailable:
        return Unavailable(
            code,
            detail,
            retry_after=response.retry_after,
        )
    return outcome(code, detail)


def parse_retry_after(value: str | None, now: datetime) -> timedelta | None:
    """The wait that a Retry-After header asks for (RFC 9110, 10.2.3): seconds or an HTTP-date.

    Between zero and a day, whatever the header says; None where it says nothing legible.
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
