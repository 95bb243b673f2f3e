"""Text out of mail, whatever its charset is called and whatever it really is.

Charsets by their names as browsers take them (WHATWG Encoding Standard); headers by RFC 2047, and
by RFC 6532 where they hold 8-bit text.
"""

import codecs
import re
from datetime import UTC, datetime
from email.errors import HeaderParseError
from email.header import decode_header
from email.headerregistry import Address
from email.message import Message
from email.utils import getaddresses, parsedate_to_datetime
from typing import TypeAlias

from connectors.toolkit.excerpts import printable

MimePart: TypeAlias = "Message[str, str]"

MAX_HEADER = 65_536
"""In characters; what is longer is cut."""

# What a label stands for in practice: mostly a superset of what it names.
_SUPERSETS = {
    "latin1": "cp1252",
    "iso-8859-1": "cp1252",
    "iso-8859-8-i": "iso-8859-8",
    "iso-8859-9": "cp1254",
    "tis-620": "cp874",
    "windows-874": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "x-gbk": "gb18030",
    "euc-kr": "cp949",
    "ks_c_5601-1987": "cp949",
    "shift_jis": "cp932",
    "x-sjis": "cp932",
    "utf8mb4": "utf-8",
}
# Codecs of Python that are no charsets of mail; some of them take quadratic time.
_NO_CHARSETS = {"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"}
_ASCII = {"", "ascii", "us-ascii"}
_FOLD = re.compile(r"[\r\n]+(?=[ \t])")
_ADDRESS = re.compile(r"(?=.{3,320}$)[^\s<>]+@[^\s<>@]+")
_NO_OCTET = re.compile("[\0\ud800-\udc7f\udd00-\udfff]")
_NOT_TEXT = re.compile("[\0\ud800-\udfff]")


def decoded(content: bytes, charset: str | None) -> str:
    """`content` as text, its lines ending with LF. What is no text in `charset` becomes U+FFFD;
    where that is none, or is said to be ASCII, the content is UTF-8, or else Windows-1252.
    """
    text = _NOT_TEXT.sub("\N{REPLACEMENT CHARACTER}", _decoded(content, charset or ""))
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _decoded(content: bytes, charset: str) -> str:
    label = charset.strip().lower()
    if label not in _ASCII:
        try:
            codec = codecs.lookup(_SUPERSETS.get(label, label)).name
            if codec not in _NO_CHARSETS:
                return content.decode(codec, "replace")
        except (LookupError, ValueError):
            pass  # no such charset, or none of text
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def octets_decoded(text: str) -> str:
    """`text` as the parser of the standard library leaves it, with its 8-bit octets, which are
    lone surrogates there, as what they mean.
    """
    octets = _NO_OCTET.sub("\N{REPLACEMENT CHARACTER}", text).encode("utf-8", "surrogateescape")
    return _decoded(octets, "")


def raw_headers(mail: MimePart, name: str) -> list[str]:
    """The headers of this name, each on one line, its encoded words as they are."""
    return [
        octets_decoded(_FOLD.sub("", str(value))[:MAX_HEADER])
        for found, value in mail.raw_items()
        if found.lower() == name.lower()
    ]


def header(mail: MimePart, name: str) -> str | None:
    """The first header of this name, decoded; None where there is none."""
    return next((with_words_decoded(raw) for raw in raw_headers(mail, name)), None)


def mailboxes(mail: MimePart, name: str) -> list[Address]:
    """Who is named in the headers of this name. What is no address of a sane length is left out."""
    return [
        Address(with_words_decoded(display_name), *bare.rsplit("@", 1))
        for display_name, bare in getaddresses(raw_headers(mail, name))
        if _ADDRESS.fullmatch(bare)
    ]


def moment(date: str | None) -> datetime | None:
    """The date of a header (RFC 5322, 3.3), aware; None where there is none, or an impossible one.
    Without a zone it is UTC.
    """
    try:
        found = parsedate_to_datetime(date or "")
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def with_words_decoded(text: str) -> str:
    """A line of `text` with its encoded words read."""
    try:
        words = decode_header(text)
    except HeaderParseError:  # one that is no base64 leaves all of them as they are
        words = [(text, None)]
    whole = "".join(_word(word, charset) for word, charset in words)
    return printable(_NOT_TEXT.sub("\N{REPLACEMENT CHARACTER}", whole))


def _word(word: bytes | str, charset: str | None) -> str:
    if isinstance(word, str):
        return word
    if charset is None:  # the standard library's own way to hand out what was no encoded word
        return word.decode("raw-unicode-escape", "replace")
    return _decoded(word, charset.partition("*")[0])  # behind it is the language: RFC 2231, 5
