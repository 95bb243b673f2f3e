"""Read bounces in free text, from servers that send no delivery report (RFC 3464).

The formats of qmail (QSBMF, https://cr.yp.to/proto/qsbmf.txt) and Exim also contain the reason for
each recipient. All others are left to flufl.bounce, which knows those of many mail systems.
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass

from flufl.bounce import all_failures

from connectors.toolkit.mail.parser import MimePart, parse_headers, parse_mail
from connectors.toolkit.mail.parts import read_parts
from connectors.toolkit.mail.text import header, mailboxes, raw_headers

# It logs each step, and errors with their traceback.
logging.getLogger("flufl.bounce").setLevel(logging.CRITICAL + 1)

DAEMONS = frozenset({"mailer-daemon", "mailerdaemon", "mail-daemon", "mdaemon", "postmaster"})
"""The local parts that mail systems send bounces from."""

# flufl.bounce applies many expressions to each line, so it gets only the beginning of an e-mail.
MAX_LINES = 400
MAX_LINE = 200
MAX_REASON = 1000
MAX_REPORT = 64_000
MIN_WORDS = 2

_COPY_FOLLOWS = re.compile(r"^---+ .*\n\s*", re.MULTILINE)
_QMAIL_FAILURE = re.compile(r"<(?P<recipient>[^\n]+)>:[ \t]*\n(?P<reason>.*)", re.DOTALL)
_LISTED = re.compile(r"[ \t]*<(?P<recipient>[^<>\s@]{1,64}@[^<>\s@]{1,255})>:")
_STILL_TRYING = (
    "delayed",
    "delay in delivery",
    "do not need to resend",
    "will be retried",
    "will continue to",
    "will keep trying",
    "still trying",
)
_END_OF_REASON = re.compile(
    r"[-=_*|#]{3}|received:|subject:|return-path:|[ \t>]*(?:the )?original message"
    r"|message text follows|old message|here is (?:a copy|your)|.{0,40}a copy of",
    re.IGNORECASE,
)
_SUBJECT = re.compile(
    r"(?:undeliver(?:able|ed) (?:mail|message)|undeliverable:|returned mail|failure notice"
    r"|delivery (?:status notification|failure|warning)"
    r"|mail delivery (?:fail|warning|system|status)|non-delivery|mail could not be delivered)",
    re.IGNORECASE,
)

# What the standard library and flufl.bounce raise for malformed e-mail.
_ERRORS = (ValueError, LookupError, TypeError, AttributeError, AssertionError)


@dataclass(frozen=True, slots=True)
class Bounce:
    """A bounce.

    Attributes:
        failures: The recipients that were not reached, each with the reason.
        delays: The recipients that were not reached yet, each with the reason.
        returned: The headers of the original e-mail, as far as they were returned.
    """

    failures: Mapping[str, str]
    delays: Mapping[str, str]
    returned: MimePart


def is_from_daemon(mail: MimePart, envelope_sender: str | None = None) -> bool:
    """Return whether a mail system rather than a person sent an e-mail."""
    paths = [envelope_sender] if envelope_sender is not None else raw_headers(mail, "Return-Path")
    senders = [address.addr_spec for address in mailboxes(mail, "From")]
    return any(not path.strip("<> ") for path in paths) or any(
        path.strip("<> ").partition("@")[0].lower() in DAEMONS for path in [*paths, *senders]
    )


def read_bounce(
    mail: MimePart, content: bytes, envelope_sender: str | None = None
) -> Bounce | None:
    """Return the bounce in an e-mail, or None if it is not a bounce of a known kind."""
    text = read_parts(mail).text
    report, *copy = _COPY_FOLLOWS.split(text, maxsplit=1)
    returned = parse_headers("".join(copy).encode())
    is_like_a_bounce = _is_like_a_bounce(mail, envelope_sender)
    if is_like_a_bounce and report.lstrip().startswith("Hi. This is the"):
        failures = _qmail_failures(report)
    else:
        reasons = _exim_reasons(report)
        failures = {
            address.addr_spec: reasons.get(address.addr_spec, "")
            for address in mailboxes(mail, "X-Failed-Recipients")
        }
    if failures:
        return Bounce(failures, {}, returned)
    if not is_like_a_bounce:
        return None
    delays, failures = (
        {address: _reason(text, address) for address in addresses}
        for addresses in _known_failures(content)
    )
    if not failures and not delays:
        failures = _listed_failures(report)
        if any(phrase in report.lower() for phrase in _STILL_TRYING):
            delays, failures = failures, {}
    return Bounce(failures, delays, returned) if failures or delays else None


def _is_like_a_bounce(mail: MimePart, envelope_sender: str | None) -> bool:
    """Return whether an e-mail may be a bounce, so that one that quotes a bounce is not."""
    if raw_headers(mail, "In-Reply-To") and not is_from_daemon(mail, envelope_sender):
        return False
    return (
        is_from_daemon(mail, envelope_sender)
        or mail.get_content_type() == "multipart/report"
        or not mailboxes(mail, "From")
        or _SUBJECT.match(header(mail, "Subject") or "") is not None
    )


def _known_failures(content: bytes) -> tuple[list[str], list[str]]:
    """Return the recipients of temporary and of permanent failures."""
    head, separator, body = content.replace(b"\r\n", b"\n").partition(b"\n\n")
    lines = body.split(b"\n", MAX_LINES)[:MAX_LINES]
    beginning = head + separator + b"\n".join(line[:MAX_LINE] for line in lines)
    try:
        temporary, permanent = all_failures(parse_mail(beginning))
        return [_text(one) for one in temporary], [_text(one) for one in permanent]
    except _ERRORS:
        return [], []


def _text(address: bytes | str) -> str:
    return address if isinstance(address, str) else address.decode("ascii", "replace")


def _listed_failures(report: str) -> dict[str, str]:
    """Return the recipients in lines such as `<ann@example.com>: host … said: 550 …`."""
    addresses = {
        found["recipient"]
        for line in report[:MAX_REPORT].splitlines()
        if (found := _LISTED.match(line)) is not None
    }
    return {address: _reason(report, address) for address in sorted(addresses)}


def _reason(text: str, recipient: str) -> str:
    """Return the text about a recipient: from the line that names it to the next one that does not
    belong to it.
    """
    start = text.lower().find(recipient.lower())
    first, *lines = text[max(start, 0) :][:MAX_REASON].split("\n")
    reason = [first]
    for line in lines:
        words = line.lower().replace(recipient.lower(), "")
        if _END_OF_REASON.match(line) or "@" in words:
            break
        # After a blank line another reason may follow, unless there was none yet.
        if not line.strip() and len(" ".join(reason).replace(recipient, "").split()) > MIN_WORDS:
            break
        reason.append(line)
    return "\n".join(reason)


def _qmail_failures(report: str) -> dict[str, str]:
    found = map(_QMAIL_FAILURE.fullmatch, report.split("\n\n"))
    return {failure["recipient"]: failure["reason"] for failure in found if failure}


def _exim_reasons(report: str) -> dict[str, str]:
    """Return the text about each recipient: the lines below theirs, which are indented deeper."""
    lines: dict[str, list[str]] = {}
    recipient = ""
    for line in report.splitlines(keepends=True):
        if line.startswith("   "):
            lines.setdefault(recipient, []).append(line)
        else:
            recipient = next(iter(line.split(maxsplit=1)), "").strip("<>:,")
    return {recipient: "".join(reason) for recipient, reason in lines.items()}
