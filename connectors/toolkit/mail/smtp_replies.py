"""What an SMTP server's refusal means.

Basic codes as in RFC 5321 and RFC 4954, enhanced ones as in RFC 3463 and the IANA registry of
SMTP enhanced status codes. The table below says where a code means something else than its
first digit.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta

from connectors.base import ErrorCode, Misconfigured, Rejected, SendError, Unavailable
from connectors.toolkit.excerpts import excerpt

GREYLIST_WAIT = timedelta(minutes=5)
NEXT_BATCH_WAIT = timedelta(seconds=1)

TOO_MANY_RECIPIENTS = frozenset({"4.5.3", "5.5.3"})

_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?=\s|$)")
_GREYLISTED = re.compile(r"gr[ea]y-?list", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply of the server: its basic code, and the text behind it with lines joined."""

    code: int
    text: str

    @property
    def positive(self) -> bool:
        return 200 <= self.code < 300

    @property
    def status(self) -> str:
        """The enhanced code where there is one. Where it contradicts the basic one, that counts,
        since older relays put in enhanced codes of their own making.
        """
        enhanced = _ENHANCED.match(self.text)
        if enhanced and enhanced[1][0] == str(self.code)[0]:
            return enhanced[1]
        return str(self.code)

    def excerpt(self, hide: Iterable[str | None] = ()) -> str:
        """The reply in one short line, without the values of `hide`."""
        return excerpt(f"{self.code} {self.text}", hide)


_BY_CLASS = (
    ErrorCode("4yz", Unavailable, "any other transient refusal"),
    ErrorCode("5yz", Rejected, "any other permanent refusal"),
)
_GREYLISTED_FOR_NOW = ErrorCode("451 4.7.1", Unavailable, "greylisted", GREYLIST_WAIT)

# A code by both, by the enhanced one, or by the basic one: the first that is here counts.
ERRORS = (
    ErrorCode("5.1.1", Rejected, "no such mailbox", suppress=True),
    ErrorCode("5.1.2", Rejected, "no such domain", suppress=True),
    ErrorCode("5.1.3", Rejected, "no valid address", suppress=True),
    ErrorCode("5.1.6", Rejected, "the mailbox has moved", suppress=True),
    ErrorCode("5.1.10", Rejected, "the domain takes no mail (RFC 7505)", suppress=True),
    ErrorCode("5.2.1", Rejected, "the mailbox is disabled", suppress=True),
    ErrorCode("5.2.2", Unavailable, "the mailbox is full"),
    ErrorCode("5.3.1", Unavailable, "the mail system is full"),
    ErrorCode("5.4.5", Unavailable, "the mail system is congested"),
    ErrorCode("450 4.7.1", Unavailable, "greylisted", GREYLIST_WAIT),
    _GREYLISTED_FOR_NOW,
    ErrorCode("4.5.3", Unavailable, "too many recipients in one transaction", NEXT_BATCH_WAIT),
    ErrorCode("5.5.3", Unavailable, "too many recipients in one transaction", NEXT_BATCH_WAIT),
    ErrorCode("530", Misconfigured, "authentication or STARTTLS is required"),
    ErrorCode("534", Misconfigured, "the mechanism is too weak"),
    ErrorCode("535", Misconfigured, "the credentials are refused"),
    ErrorCode("538", Misconfigured, "encryption is required"),
    *_BY_CLASS,
)
_BY_CODE = {error.code: error for error in ERRORS}
DEAD_ADDRESS = frozenset(error.code for error in ERRORS if error.suppress)
"""The codes that say of an address that nobody can be reached there."""


def _meaning(reply: Reply) -> ErrorCode:
    """What a refusal stands for. A reply that is no refusal, where one expects to go on, is the
    server's confusion: Unavailable.
    """
    for code in (f"{reply.code} {reply.status}", reply.status, str(reply.code)):
        if code in _BY_CODE:
            return _BY_CODE[code]
    if reply.code in {450, 451} and _GREYLISTED.search(reply.text):
        return _GREYLISTED_FOR_NOW
    transient, permanent = _BY_CLASS
    return permanent if 500 <= reply.code < 600 else transient


def reply_error(
    reply: Reply, hide: Iterable[str | None] = (), *, may_suppress: bool = False
) -> SendError:
    """The error that a refusal stands for, to be raised; `hide` is left out of its detail.

    It `may_suppress` where it answers the naming of the message's own recipient: elsewhere the
    same codes speak of the sender, or of who knows which recipient.
    """
    found = _meaning(reply)
    told = replace(found, code=reply.status, suppress=found.suppress and may_suppress)
    return told.error(reply.excerpt(hide))
