"""What an SMTP server's refusal means.

Basic codes as in RFC 5321 and RFC 4954, enhanced ones as in RFC 3463 and the IANA registry of
SMTP enhanced status codes. The table below says where a code means something else than its
first digit.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from connectors.base import Misconfigured, Rejected, SendError, Unavailable
from connectors.replies import excerpt

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


@dataclass(frozen=True, slots=True)
class Meaning:
    outcome: type[SendError]
    suppress: bool = False
    retry_after: timedelta | None = None


_DEAD_ADDRESS = Meaning(Rejected, suppress=True)
_FULL = Meaning(Unavailable)
_GREYLISTED_FOR_NOW = Meaning(Unavailable, retry_after=GREYLIST_WAIT)
_SPLIT = Meaning(Unavailable, retry_after=NEXT_BATCH_WAIT)
_NOT_LET_IN = Meaning(Misconfigured)

# By both codes, by the enhanced one, or by the basic one: the first that is here counts.
MEANING: Mapping[str, Meaning] = {
    "5.1.1": _DEAD_ADDRESS,  # no such mailbox
    "5.1.2": _DEAD_ADDRESS,  # no such domain
    "5.1.3": _DEAD_ADDRESS,  # no valid address
    "5.1.6": _DEAD_ADDRESS,  # mailbox has moved
    "5.1.10": _DEAD_ADDRESS,  # domain takes no mail (RFC 7505)
    "5.2.1": _DEAD_ADDRESS,  # mailbox disabled
    "5.2.2": _FULL,  # mailbox full
    "5.3.1": _FULL,  # mail system full
    "5.4.5": _FULL,  # mail system congested
    "450 4.7.1": _GREYLISTED_FOR_NOW,
    "451 4.7.1": _GREYLISTED_FOR_NOW,
    "4.5.3": _SPLIT,  # too many recipients in one transaction
    "5.5.3": _SPLIT,
    "530": _NOT_LET_IN,  # authentication or STARTTLS required
    "534": _NOT_LET_IN,  # mechanism too weak
    "535": _NOT_LET_IN,  # credentials refused
    "538": _NOT_LET_IN,  # encryption required
}


def meaning(reply: Reply) -> Meaning:
    """What a refusal stands for: that of the table, else that of its first digit. A reply that is
    no refusal, where one expects to go on, is the server's confusion: Unavailable.
    """
    for key in (f"{reply.code} {reply.status}", reply.status, str(reply.code)):
        if key in MEANING:
            return MEANING[key]
    if reply.code in {450, 451} and _GREYLISTED.search(reply.text):
        return _GREYLISTED_FOR_NOW
    return Meaning(Rejected) if 500 <= reply.code < 600 else Meaning(Unavailable)


def refusal(
    reply: Reply, hide: Iterable[str | None] = (), *, may_suppress: bool = False
) -> SendError:
    """The error that a refusal stands for, to be raised; `hide` is left out of its detail.

    It `may_suppress` where it answers the naming of the message's own recipient: elsewhere the
    same codes speak of the sender, or of who knows which recipient.
    """
    found = meaning(reply)
    detail = reply.excerpt(hide)
    if found.outcome is Unavailable:
        return Unavailable(reply.status, detail, retry_after=found.retry_after)
    if found.outcome is Rejected:
        return Rejected(reply.status, detail, suppress=found.suppress and may_suppress)
    return found.outcome(reply.status, detail)
