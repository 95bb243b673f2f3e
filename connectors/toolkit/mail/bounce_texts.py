"""Read bounces in free text, from servers that send no delivery report (RFC 3464).

Two kinds can be recognised: those of qmail, in the format QSBMF
(https://cr.yp.to/proto/qsbmf.txt), and those of Exim, which list the failed recipients in the
header X-Failed-Recipients.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from connectors.toolkit.mail.parser import MimePart, parse_headers
from connectors.toolkit.mail.parts import read_parts
from connectors.toolkit.mail.text import mailboxes

_COPY_FOLLOWS = re.compile(r"^---+ .*\n\s*", re.MULTILINE)
_QMAIL_FAILURE = re.compile(r"<(?P<recipient>[^\n]+)>:\n(?P<reason>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Bounce:
    """A bounce.

    Attributes:
        failures: The recipients that were not reached, each with the reason.
        returned: The headers of the original e-mail, as far as they were returned.
    """

    failures: Mapping[str, str]
    returned: MimePart


def read_bounce(mail: MimePart) -> Bounce | None:
    """Return the bounce in an e-mail, or None if it is not a bounce of a known kind."""
    if mail.get_content_type() != "text/plain":
        return None
    text = read_parts(mail).text
    report, *copy = _COPY_FOLLOWS.split(text, maxsplit=1)
    if report.startswith("Hi. This is the"):
        failures = _qmail_failures(report)
    else:
        reasons = _exim_reasons(report)
        failures = {
            address.addr_spec: reasons.get(address.addr_spec, "")
            for address in mailboxes(mail, "X-Failed-Recipients")
        }
    return Bounce(failures, parse_headers("".join(copy).encode())) if failures else None


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
