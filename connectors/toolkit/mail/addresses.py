"""Parse one e-mail address with an optional display name."""

import re
from email.headerregistry import Address

import idna

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# Narrower than the header grammar: neither a quoted local part, which could contain the end of the
# path in MAIL FROM:<...>, nor a comment, a group or a second address.
_MAILBOX = re.compile(
    r"""
    (?: (?: "(?P<quoted>(?:[^"\\]|\\.)*)" \s* | (?P<name>[^"<>@(),:;\\]*) ) (?P<path><) )?
    (?P<local>[^\s"<>@(),:;\\\[\]]+) @ (?P<domain>[^\s"<>@(),:;\\\[\]]+)
    (?(path)>)
    """,
    re.VERBOSE,
)


def parse_mailbox(text: str) -> Address:
    """Parse `local@domain` or `Name <local@domain>`; the domain is returned as A-labels.

    Raises:
        ValueError: the text is not exactly one address.
    """
    found = _MAILBOX.fullmatch(text.strip())
    if found is None or _CONTROL.search(text):
        raise ValueError("not exactly one address of the form local@domain.")
    try:
        domain = idna.encode(found["domain"], uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise ValueError("the domain of the address is not valid.") from error
    name = re.sub(r"\\(.)", r"\1", found["quoted"] or "") or (found["name"] or "").strip()
    return Address(name, found["local"], domain)
