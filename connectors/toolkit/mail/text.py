"""Decode the text and the headers of e-mail, including mislabelled and malformed ones.

Charset names are interpreted as browsers do (WHATWG Encoding Standard). Headers follow RFC 2047,
and RFC 6532 if they contain 8-bit text.
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
"""The maximum length in characters; longer headers are cut."""

# The charset that a label means in practice: mostly a superset of the named one.
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
# Codecs of Python that are not charsets of e-mail; some of them take quadratic time.
_NOT_CHARSETS = {"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"}
_ASCII = {"", "ascii", "us-ascii"}
_FOLD = re.compile(r"(?:\r\n?|\n)(?=[ \t])")
_ADDRESS = re.compile(r"(?=.{3,320}$)[^\s<>]+@[^\s<>@]+")
_NO_OCTET = re.compile("[\0\ud800-\udc7f\udd00-\udfff]")
_NOT_TEXT = re.compile("[\0\ud800-\udfff]")


def decode_text(content: bytes, charset: str | None) -> str:
    """Return the content as text whose lines end with LF.

    Bytes that are invalid in the charset become U+FFFD. If the charset is unknown, missing or
    ASCII, the content is decoded as UTF-8, or as Windows-1252 if it is not valid UTF-8.
    """
    text = _NOT_TEXT.sub("\N{REPLACEMENT CHARACTER}", _decode(content, charset or ""))
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _decode(content: bytes, charset: str) -> str:
    label = charset.strip().lower()
    if label not in _ASCII:
        try:
            codec = codecs.lookup(_SUPERSETS.get(label, label)).name
            if codec not in _NOT_CHARSETS:
                return content.decode(codec, "replace")
        except (LookupError, ValueError):
            pass  # an unknown charset, or a codec that does not decode to text
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def decode_octets(text: str) -> str:
    """Decode the 8-bit octets that the standard library's parser leaves as lone surrogates."""
    octets = _NO_OCTET.sub("\N{REPLACEMENT CHARACTER}", text).encode("utf-8", "surrogateescape")
    return _decode(octets, "")


def raw_headers(mail: MimePart, name: str) -> list[str]:
    """Return the headers of this name, unfolded, with their encoded words unchanged."""
    return [
        decode_octets(_FOLD.sub("", str(value))[:MAX_HEADER])
        for found, value in mail.raw_items()
        if found.lower() == name.lower()
    ]


def header(mail: MimePart, name: str) -> str | None:
    """Return the first header of this name, decoded, or None."""
    return next((decode_words(raw) for raw in raw_headers(mail, name)), None)


def mailboxes(mail: MimePart, name: str) -> list[Address]:
    """Return the valid addresses in the headers of this name."""
    return [
        Address(decode_words(display_name), *bare.rsplit("@", 1))
        for display_name, bare in getaddresses(raw_headers(mail, name))
        if _ADDRESS.fullmatch(bare)
    ]


def parse_date(text: str | None) -> datetime | None:
    """Return the date of a header (RFC 5322, 3.3) in UTC, or None if it is missing or invalid.

    A date without a time zone is in UTC.
    """
    try:
        date = parsedate_to_datetime(text or "")
        return date.astimezone(UTC) if date.tzinfo else date.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def decode_words(text: str) -> str:
    """Decode the encoded words of a header (RFC 2047) and return it on one line."""
    try:
        words = decode_header(text)
    except HeaderParseError:  # a word that is not valid base64 leaves all of them undecoded
        words = [(text, None)]
    whole = "".join(_word(word, charset) for word, charset in words)
    return printable(_NOT_TEXT.sub("\N{REPLACEMENT CHARACTER}", whole))


def _word(word: bytes | str, charset: str | None) -> str:
    if isinstance(word, str):
        return word
    if charset is None:  # how the standard library returns what is not an encoded word
        return word.decode("raw-unicode-escape", "replace")
    return _decode(word, charset.partition("*")[0])  # after the * comes the language (RFC 2231, 5)
