"""Parse the header-like fields of delivery reports, as real servers write them.

That includes spaces before the colon (RFC 5322, 4.5), and diagnostics whose
lines are not indented or are separated by blank lines, which would end the block of a recipient.
"""

import re
from collections.abc import Iterator
from email.message import Message

from connectors.toolkit.mail.parser import MimePart
from connectors.toolkit.mail.parts import children, content
from connectors.toolkit.mail.text import decode_text

MAX_FIELDS = 50
MAX_BLOCKS = 1001
MAX_VALUE = 2000

# Fields that a block has once, and that the block of each recipient has (RFC 3464, 2.3).
_RECIPIENT_FIELDS = frozenset(
    {"original-recipient", "final-recipient", "action", "status", "diagnostic-code"}
)
_FIELD = re.compile(r"([!-9;-~]+)[ \t]*:[ \t]*(.*)")


def read_blocks(part: MimePart) -> list[MimePart]:
    """Return the blocks of fields of a report, each as headers."""
    blocks: list[MimePart] = []
    names: set[str] = set()
    for fields in _chunks(_lines(part)):
        new_names = {name.lower() for name, _ in fields} & _RECIPIENT_FIELDS
        # What follows a blank line belongs to the same recipient if it completes the block.
        if not blocks or not names or names & new_names:
            if len(blocks) == MAX_BLOCKS:
                break
            blocks.append(Message())
            names = set()
        names |= new_names
        for name, value in fields:
            if not name:
                _continue(blocks[-1], value)
            elif len(blocks[-1]) < MAX_FIELDS:
                blocks[-1][name] = value
    return [block for block in blocks if block.keys()]


def _lines(part: MimePart) -> Iterator[str]:
    """Yield the lines of a report, which the standard library may have split into headers."""
    for child in children(part) or [part]:
        if child is not part:
            for name, value in child.raw_items():
                yield from f"{name}: {value}".splitlines()
            yield ""
        if not child.is_multipart():
            yield from decode_text(content(child), child.get_content_charset()).split("\n")
        yield ""


def _chunks(lines: Iterator[str]) -> Iterator[list[tuple[str, str]]]:
    """Yield the fields between blank lines. Text before the first field has an empty name."""
    fields: list[tuple[str, list[str]]] = []
    for line in lines:
        found = _FIELD.fullmatch(line)
        if found:
            fields.append((found[1], [found[2]]))
        elif line.strip():
            if not fields:
                fields.append(("", []))
            fields[-1][1].append(line.strip())
        elif fields:
            yield [(name, " ".join(texts)) for name, texts in fields]
            fields = []
    if fields:
        yield [(name, " ".join(texts)) for name, texts in fields]


def _continue(block: MimePart, text: str) -> None:
    """Append text to the last field of a block."""
    if block.keys():
        name, value = block.items()[-1]
        if len(value) < MAX_VALUE:
            block.replace_header(name, f"{value} {text}")
