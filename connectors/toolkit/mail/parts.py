"""Split an e-mail into its texts and its files (RFC 2045 to 2049, RFC 2183, RFC 2231)."""

import mimetypes
from collections.abc import Iterator
from dataclasses import dataclass

from connectors.base import Attachment
from connectors.toolkit.mail.mime import clean_file_name
from connectors.toolkit.mail.parser import MailLimitError, MimePart
from connectors.toolkit.mail.text import decode_octets, decode_text, decode_words

MAX_ATTACHMENTS = 250


@dataclass(frozen=True, slots=True)
class Parts:
    """The text, the HTML and the files of an e-mail. An attached e-mail is a file as well."""

    text: str
    html: str | None
    attachments: tuple[Attachment, ...]


def leaves(mail: MimePart) -> Iterator[MimePart]:
    """Yield the parts that have content, in order. An attached e-mail is one part."""
    stack = [mail]
    while stack:
        part = stack.pop()
        if part.get_content_maintype() == "multipart" and part.is_multipart():
            stack.extend(reversed(children(part)))
        else:
            yield part


def children(part: MimePart) -> list[MimePart]:
    """Return the parts inside a part; none for a text or a file."""
    payload = part.get_payload()
    return [child for child in payload if not isinstance(child, str)] if part.is_multipart() else []


def content(part: MimePart) -> bytes:
    """Return the bytes of a leaf, even if its transfer encoding is malformed."""
    if part.is_multipart():
        return b"\r\n".join(child.as_bytes() for child in children(part))
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def read_parts(mail: MimePart) -> Parts:
    """Split an e-mail into text, HTML and files.

    Several texts are joined: mailing lists append a text, and others have a picture in between.

    Raises:
        MailLimitError: There are too many attachments.
    """
    texts: list[str] = []
    htmls: list[str] = []
    files: list[Attachment] = []
    for part in leaves(mail):
        match _kind(part):
            case "text":
                texts.append(decode_text(content(part), part.get_content_charset()))
            case "html":
                htmls.append(decode_text(content(part), part.get_content_charset()))
            case _ if len(files) == MAX_ATTACHMENTS:
                raise MailLimitError(f"more than {MAX_ATTACHMENTS} attachments")
            case _:
                files.append(_file(part, len(files) + 1))
    return Parts("\n".join(filter(None, texts)), "\n".join(htmls) or None, tuple(files))


def _kind(part: MimePart) -> str:
    if part.get_content_disposition() == "attachment" or part.get_filename():
        return "file"
    if part.get_content_type() == "text/html":
        return "html"
    # A multipart without a boundary is plain text.
    if part.get_content_type() == "text/plain" or part.get_content_maintype() == "multipart":
        return "text"
    return "file"


def _file(part: MimePart, number: int) -> Attachment:
    content_type = part.get_content_type()
    given = part.get_filename()
    if given:
        name = clean_file_name(decode_words(decode_octets(given)))
    else:
        name = f"attachment-{number}{mimetypes.guess_extension(content_type) or ''}"
    return Attachment(name=name, content_type=content_type, content=content(part))
