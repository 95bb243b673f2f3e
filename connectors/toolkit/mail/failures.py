"""Decide what a failed delivery says about the recipient's address.

A code alone is not enough: servers report blocked senders and full mailboxes with the code of a
missing mailbox, and missing mailboxes with a code that means nothing. Code and text must agree.
"""

import re

from connectors.base import Suppress

DEAD_CODES = frozenset(
    {"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.1.351", "5.2.1", "5.4.4", "5.4.310"}
)
"""The codes that mean that an address does not exist or is disabled, unless the text contradicts.

5.1.351 and 5.4.310 are Microsoft's: unknown recipient, and nonexistent domain.
"""
VAGUE_CODES = frozenset({"5.4.1", "5.5.0"})
"""Codes that mean nothing without their text. Microsoft rejects unknown recipients with 5.4.1."""

ABOUT_MESSAGE = frozenset({"1.7", "1.8", "1.9", "2.3", "3.4"})
"""Codes without their class that are about the sender's address or the size of the message."""
ABOUT_COMMAND = frozenset({"500", "501", "502", "503", "504", "555"})

CODE = re.compile(r"(?<![\d.])[245]\.\d{1,3}\.\d{1,3}(?!\.?\w)")
_BASIC_CODE = re.compile(r"(?<![\d.])[45]\d\d(?![\d.])")
_NOT_WORDS = re.compile(r"[^\w'-]")

MAX_TEXT = 2000

# These are compared with the text in lower case, without punctuation, between spaces.
_NO_MAILBOX = tuple(
    [f" {who} {what} " for who in ("user", "recipient", "mailbox", "account", "address")
     for what in (
         "unknown", "not found", "not known", "is unknown", "invalid", "is invalid", "not exist",
         "disabled", "is disabled", "inactive", "is inactive", "suspended", "closed", "is closed",
         "deactivated", "expired", "discontinued", "no longer exists", "not available anymore",
     )]
    + [f" {what} {who} " for who in ("user", "recipient", "mailbox", "account", "address", "person")
       for what in ("unknown", "no such", "invalid", "nonexistent", "non-existent", "inactive",
                    "disabled", "not a valid", "not a known", "unknown local", "bad destination")]
    + [
        " does not exist ", " doesn't exist ", " did not exist ", " user does not ",
        " user doesn't have ", " no mailbox here ", " not listed in ", " unrouteable address ",
        " unroutable address ", " undeliverable address ", " recipnotfound ", " recipientnotfound ",
        " could not be found ", " cannot be found ", " couldn't be found ", " unknown to us ",
        " been disabled ", " been deactivated ", " been suspended ", " been discontinued ",
        " been closed ", " been deleted ", " been terminated ", " no longer works ",
        " no longer employed ", " no longer valid ", " no longer in use ", " no longer exists ",
        " not our customer ", " no such domain ", " no such host ", " host unknown ",
        " unknown host ", " domain not found ", " domain name not found ", " nonexistentdomain ",
        " nonexistent domain ", " invalid final delivery userid ", " no user ", " bad address ",
    ]
)  # fmt: skip
_SENDER_IS_REFUSED = (
    " spam", " block", " blacklist", " black-list", " black list", " denylist", " rbl ", " dnsbl",
    "spamhaus", "spamcop", "barracuda", " reputation", " policy", " policies", " banned ",
    " unsolicited", " suspicious", " virus ", " malware", " phish", " spf ", " dkim ", " dmarc ",
    " authenticat", " reverse dns ", " rdns ", " ptr ", " ip address", " client host ", " your ip ",
    " your server ", " your host ", " relay access denied ", " relaying denied ", " relay denied ",
    " relay not ", " relaying not ", " unable to relay ", " cannot relay ", " sender address ",
    " sender rejected ", " sender verif", " rate ", " too many ", " too much ", " throttl",
    " greylist", " graylist", " grey-list", " message content ", " message size ", " too large ",
    " too big ", " not authorized ", " not authorised ",
)  # fmt: skip
_NOT_AT_PRESENT = (
    " quota", " full ", " overquota ", " over limit ", " exceed", " insufficient ", " storage ",
    " no space ", " disk ", " temporar", " try again ", " later ", " at this time ",
    " at the moment ", " currently ", " timed out ", " timeout ", " deferred ", " busy ",
)  # fmt: skip


def classify(code: str | None, text: str) -> Suppress:
    """Return whether a failed delivery suppresses the recipient's address.

    True if the mailbox or its domain does not exist or is disabled, `soft_bounce` if it could not
    be reached for the time being, False if the failure is not about the recipient.

    Args:
        code: The enhanced or basic code (RFC 3463, RFC 5321), if any.
        text: The server's reply.
    """
    # An address may contain any of the words.
    text = " ".join(word for word in text[:MAX_TEXT].split() if "@" not in word)
    words = f" {' '.join(_NOT_WORDS.sub(' ', text.lower()).split())} "
    codes = {*CODE.findall(text), *([code] if code and CODE.fullmatch(code) else [])}
    precise = {one for one in codes if not one.endswith(".0.0")} - VAGUE_CODES
    is_missing = any(phrase in words for phrase in _NO_MAILBOX)
    if "5.4.1" in codes and " recipient address rejected " in words:
        is_missing = True

    # Classes 5, 6 and 7 are about the protocol, the content and policies.
    is_about_sender = any(
        one.split(".")[1] in {"5", "6", "7"} or one[2:] in ABOUT_MESSAGE for one in precise
    )
    if (
        code in ABOUT_COMMAND
        or any(phrase in words for phrase in _SENDER_IS_REFUSED)
        or (is_about_sender and not is_missing)
    ):
        return False
    basic = _BASIC_CODE.search(code or "") or _BASIC_CODE.search(text)
    is_transient = (
        any(phrase in words for phrase in _NOT_AT_PRESENT)
        or any(one.startswith("4") for one in codes)
        or (basic is not None and (basic[0].startswith("4") or basic[0] == "552"))
    )
    is_dead = precise <= DEAD_CODES if precise else is_missing
    return True if is_dead and not is_transient else "soft_bounce"
