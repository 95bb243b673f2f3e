"""Replies of SMTP servers, and the error that each code stands for.

Basic codes are those of RFC 5321 and RFC 4954, enhanced codes those of RFC 3463 and the IANA
registry of SMTP enhanced status codes. A code that is not in the table means what its first digit
means.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta

from connectors.base import ErrorCode, Misconfigured, Rejected, SendError, Unavailable
from connectors.toolkit.excerpts import excerpt
from connectors.toolkit.mail.failures import classify

GREYLIST_WAIT = timedelta(minutes=5)
NEXT_BATCH_WAIT = timedelta(seconds=1)

TOO_MANY_RECIPIENTS = frozenset({"4.5.3", "5.5.3"})

_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?=\s|$)")
_GREYLISTED = re.compile(r"gr[ea]y-?list", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply of an SMTP server: its basic code, and the text after it on one line."""

    code: int
    text: str

    @property
    def is_positive(self) -> bool:
        """Whether the code is 2yz."""
        return 200 <= self.code < 300

    @property
    def status(self) -> str:
        """The enhanced code, or else the basic code.

        An enhanced code that contradicts the basic code is ignored: older relays invent some.
        """
        enhanced = _ENHANCED.match(self.text)
        if enhanced and enhanced[1][0] == str(self.code)[0]:
            return enhanced[1]
        return str(self.code)

    def excerpt(self, hide: Iterable[str | None] = ()) -> str:
        """Return the reply on one short line, without the values to hide."""
        return excerpt(f"{self.code} {self.text}", hide)


_BY_CLASS = (
    ErrorCode("4yz", Unavailable, "any other transient refusal"),
    ErrorCode("5yz", Rejected, "any other permanent refusal"),
)
_GREYLISTED_CODE = ErrorCode("451 4.7.1", Unavailable, "greylisted", GREYLIST_WAIT)

# A reply is looked up by both of its codes, then by the enhanced one, then by the basic one.
ERRORS = (
    ErrorCode("5.1.1", Rejected, "no such mailbox", suppress=True),
    ErrorCode("5.1.2", Rejected, "no such domain", suppress=True),
    ErrorCode("5.1.3", Rejected, "the address is not valid", suppress=True),
    ErrorCode("5.1.6", Rejected, "the mailbox has moved", suppress=True),
    ErrorCode("5.1.10", Rejected, "the domain does not accept mail (RFC 7505)", suppress=True),
    ErrorCode("5.1.351", Rejected, "no such mailbox (Microsoft)", suppress=True),
    ErrorCode("5.2.1", Rejected, "the mailbox is disabled", suppress=True),
    ErrorCode("5.4.4", Rejected, "no route to the domain", suppress=True),
    ErrorCode("5.4.310", Rejected, "no such domain (Microsoft)", suppress=True),
    ErrorCode("5.2.2", Unavailable, "the mailbox is full"),
    ErrorCode("5.3.1", Unavailable, "the mail system is full"),
    ErrorCode("5.4.5", Unavailable, "the mail system is congested"),
    ErrorCode("450 4.7.1", Unavailable, "greylisted", GREYLIST_WAIT),
    _GREYLISTED_CODE,
    ErrorCode("4.5.3", Unavailable, "too many recipients in one transaction", NEXT_BATCH_WAIT),
    ErrorCode("5.5.3", Unavailable, "too many recipients in one transaction", NEXT_BATCH_WAIT),
    ErrorCode("530", Misconfigured, "authentication or STARTTLS is required"),
    ErrorCode("534", Misconfigured, "the mechanism is too weak"),
    ErrorCode("535", Misconfigured, "the credentials are invalid"),
    ErrorCode("538", Misconfigured, "encryption is required"),
    *_BY_CLASS,
)
_BY_CODE = {error.code: error for error in ERRORS}


def _find_code(reply: Reply) -> ErrorCode:
    """Return the meaning of a refusal. An unexpected reply that is not a refusal is Unavailable."""
    for code in (f"{reply.code} {reply.status}", reply.status, str(reply.code)):
        if code in _BY_CODE:
            return _BY_CODE[code]
    if reply.code in {450, 451} and _GREYLISTED.search(reply.text):
        return _GREYLISTED_CODE
    transient, permanent = _BY_CLASS
    return permanent if 500 <= reply.code < 600 else transient


def reply_error(
    reply: Reply, hide: Iterable[str | None] = (), *, may_suppress: bool = False
) -> SendError:
    """Return the error to raise for a refusal.

    Args:
        reply: The server's reply.
        hide: The values that must not appear in the error's detail.
        may_suppress: Whether the reply is to the RCPT command of the message's own recipient. In
            reply to other commands the same codes may be about the sender or another recipient.
    """
    found = _find_code(reply)
    suppress = classify(reply.status, f"{reply.code} {reply.text}") if may_suppress else False
    if found.outcome is not Rejected and suppress is True:
        suppress = "soft_bounce"
    error = replace(found, code=reply.status, suppress=suppress)
    return error.error(reply.excerpt(hide))
