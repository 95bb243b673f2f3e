"""What a mail consists of: its texts and its files (RFC 2045 to 2049, RFC 2183, RFC 2231)."""

import mimetypes
from collections.abc import Iterator
from dataclasses import dataclass

from connectors.base import Attachment
from connectors.toolkit.mail.mime import file_name
from connectors.toolkit.mail.text import MimePart, decoded, octets_decoded, with_words_decoded


@dataclass(frozen=True, slots=True)
class Parts:
    """A mail's text, its HTML where it has some, and its files with their bytes. A mail that it
    carries is a file as well.
    """

    text: str
    html: str | None
    attachments: tuple[Attachment, ...]


def leaves(mail: MimePart) -> Iterator[MimePart]:
    """The parts of a mail that hold content, in their order. A mail inside it is one of them."""
    waiting = [mail]
    while waiting:
        part = waiting.pop()
        if part.get_content_maintype() == "multipart" and part.is_multipart():
            waiting.extend(reversed(children(part)))
        else:
            yield part


def children(part: MimePart) -> list[MimePart]:
    """The parts of which a part consists; none where it is a text or a file."""
    payload = part.get_payload()
    return [child for child in payload if not isinstance(child, str)] if part.is_multipart() else []


def content(part: MimePart) -> bytes:
    """The bytes of a leaf, however well its transfer encoding is kept to."""
    if part.is_multipart():
        return b"\r\n".join(child.as_bytes() for child in children(part))
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def read_parts(mail: MimePart) -> Parts:
    """Take a mail apart. Texts that stand one after another become one, as those are that a
    mailing list adds or that have a picture between them.
    """
    texts: list[str] = []
    htmls: list[str] = []
    files: list[Attachment] = []
    for part in leaves(mail):
        match _kind(part):
            case "text":
                texts.append(decoded(content(part), part.get_content_charset()))
            case "html":
                htmls.append(decoded(content(part), part.get_content_charset()))
            case _:
                files.append(_file(part, len(files) + 1))
    return Parts("\n".join(filter(None, texts)), "\n".join(htmls) or None, tuple(files))


def _kind(part: MimePart) -> str:
    if part.get_content_disposition() == "attachment" or part.get_filename():
        return "file"
    if part.get_content_type() == "text/html":
        return "html"
    # A multipart that has no boundary is nothing but text.
    if part.get_content_type() == "text/plain" or part.get_content_maintype() == "multipart":
        return "text"
    return "file"


def _file(part: MimePart, number: int) -> Attachment:
    content_type = part.get_content_type()
    given = part.get_filename()
    if given:
        name = file_name(with_words_decoded(octets_decoded(given)))
    else:
        name = f"attachment-{number}{mimetypes.guess_extension(content_type) or ''}"
    return Attachment(name=name, content_type=content_type, content=content(part))
