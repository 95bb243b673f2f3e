"""Parse e-mail with the standard library's parser, under limits that keep its time linear.

The older policy of the parser is used, which accepts malformed headers.
"""

import re
from email.message import Message
from email.parser import BytesParser
from email.policy import Compat32
from functools import partial
from typing import TypeAlias

MAX_LINES = 1_000_000
MAX_PARTS = 2000
"""Including attached e-mails and the blocks of delivery reports."""
MAX_DEPTH = 50
MAX_COMPARISONS = 10_000_000
"""Each line is compared with the boundary of every multipart around it; this many take 3 s."""
MAX_HEADERS = 1000
"""Of one part."""
MAX_HEADER_BYTES = 1024 * 1024
"""Of all parts together."""
MAX_PARAMETERS = 50
"""Of one header, such as Content-Type."""
MAX_PARAMETER_BYTES = 8192
"""The length of a header that has parameters."""

_WITH_PARAMETERS = {"content-type", "content-disposition", "content-transfer-encoding"}

_HEAD_END = re.compile(rb"\n\r?\n")
_OBSOLETE = re.compile(rb"^([!-9;-~]+)[ \t]+:", re.MULTILINE)

_PART_HEAD = re.compile(rb"^--[^\n]+\n(?:content-[^\n]*\n(?:[ \t][^\n]*\n)*)+", re.I | re.M)

MimePart: TypeAlias = "Message[str, str]"


class MailLimitError(ValueError):
    """An e-mail exceeds a limit."""


class _Policy(Compat32):
    def header_fetch_parse(self, name: str, value: str) -> str:
        """Return a header unchanged: the original replaces 8-bit text."""
        if name.lower() in _WITH_PARAMETERS:
            if len(value) > MAX_PARAMETER_BYTES:
                raise MailLimitError(f"{name}: longer than {MAX_PARAMETER_BYTES} bytes")
            if value.count(";") > MAX_PARAMETERS:
                raise MailLimitError(f"{name}: more than {MAX_PARAMETERS} parameters")
        return value

    def fold_binary(self, name: str, value: str) -> bytes:
        """Return a header of an attached e-mail unchanged: folding it again takes long."""
        return f"{name}: {value}{self.linesep}".encode("ascii", "surrogateescape")


class _Budget:
    """What the parts of one e-mail may still contain."""

    def __init__(self, lines: int) -> None:
        self.depth = min(MAX_DEPTH, MAX_COMPARISONS // max(lines, 1))
        self.parts = MAX_PARTS
        self.header_bytes = MAX_HEADER_BYTES


class _Part(Message):
    """A part that raises MailLimitError when the parser adds more than is allowed."""

    def __init__(self, policy: Compat32, budget: _Budget) -> None:
        super().__init__(policy)
        self.depth = 0
        self.budget = budget
        budget.parts -= 1
        if budget.parts < 0:
            raise MailLimitError(f"more than {MAX_PARTS} parts")

    def set_raw(self, name: str, value: str) -> None:
        """Add a header."""
        self.budget.header_bytes -= len(name) + len(value)
        if self.budget.header_bytes < 0:
            raise MailLimitError(f"the headers exceed {MAX_HEADER_BYTES} bytes")
        if len(self) >= MAX_HEADERS:
            raise MailLimitError(f"more than {MAX_HEADERS} headers")
        super().set_raw(name, value)

    def attach(self, payload: "_Part") -> None:  # type: ignore[override] # of the parser's parts
        """Add a part inside this one."""
        payload.depth = self.depth + 1
        if payload.depth > self.budget.depth:
            raise MailLimitError(f"parts are nested more than {self.budget.depth} levels deep")
        super().attach(payload)


def parse_mail(content: bytes) -> MimePart:
    """Parse an e-mail.

    Raises:
        MailLimitError: It exceeds a limit.
    """
    return _parse(content, headers_only=False)


def parse_headers(content: bytes) -> MimePart:
    """Parse headers; what follows them becomes the payload.

    Raises:
        MailLimitError: They exceed a limit.
    """
    return _parse(content, headers_only=True)


def _parse(content: bytes, *, headers_only: bool) -> MimePart:
    content = _without_obsolete_syntax(content)
    lines = content.count(b"\n") + content.count(b"\r") - content.count(b"\r\n")
    if lines > MAX_LINES:
        raise MailLimitError(f"more than {MAX_LINES} lines")
    parser = BytesParser(partial(_Part, budget=_Budget(lines)), policy=_Policy())
    return parser.parsebytes(content, headersonly=headers_only)


def _without_obsolete_syntax(content: bytes) -> bytes:
    """Return an e-mail without spaces between the names of its headers and the colons.

    The parser takes a line with such spaces (RFC 5322, 4.5) for the start of the body.
    """
    end = _HEAD_END.search(content)
    length = end.start() if end else len(content)
    return _OBSOLETE.sub(rb"\1:", content[:length]) + _PART_HEAD.sub(_tidy_part, content[length:])


def _tidy_part(head: re.Match[bytes]) -> bytes:
    return _OBSOLETE.sub(rb"\1:", head[0])
