"""Decode the text and the headers of e-mail, including mislabelled and malformed ones.

Charset names are interpreted as browsers do (WHATWG Encoding Standard). Headers follow RFC 2047,
and RFC 6532 if they contain 8-bit text.
"""

import binascii
import re
from datetime import UTC, datetime
from email.headerregistry import Address
from email.utils import getaddresses, parsedate_to_datetime
from encodings.aliases import aliases
from itertools import accumulate, groupby, islice
from operator import itemgetter

from connectors.toolkit.excerpts import printable
from connectors.toolkit.mail.parser import MimePart

MAX_HEADER = 65_536
"""The maximum length in characters; longer headers are cut."""
MAX_ADDRESSES = 1000
"""The maximum number of addresses in the headers of one name."""

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
# Python has further codecs that are not charsets of e-mail. Some of them take quadratic time.
_CODECS = {
    *("ascii", "utf_7", "utf_8", "utf_8_sig", "utf_16", "utf_16_be", "utf_16_le"),
    *("utf_32", "utf_32_be", "utf_32_le", "latin_1", "koi8_r", "koi8_u", "koi8_t", "kz1048"),
    *(f"iso8859_{part}" for part in range(2, 17)),
    *(f"cp{page}" for page in (437, 737, 775, 850, 852, 855, 857, 858, *range(860, 867), 869)),
    *(f"cp{page}" for page in (874, 932, 949, 950, 1125, *range(1250, 1259))),
    *("mac_roman", "mac_cyrillic", "mac_greek", "mac_latin2", "mac_turkish", "ptcp154"),
    *("big5", "big5hkscs", "gb18030", "hz", "johab", "euc_kr", "iso2022_kr"),
    *("shift_jis", "euc_jp", "iso2022_jp", "iso2022_jp_1", "iso2022_jp_2", "iso2022_jp_ext"),
}
_CODEC_BY_LABEL = {
    alias.replace("_", "-"): codec
    for alias, codec in [*((codec, codec) for codec in _CODECS), *aliases.items()]
    if codec in _CODECS
}
_ASCII = {"", "ascii", "us-ascii"}
_FOLD = re.compile(r"(?:\r\n?|\n)(?=[ \t])")
_ADDRESS = re.compile(r"(?=.{3,320}$)[^\s<>]+@[^\s<>@]+")
_WORD = re.compile(r"=\?([^?\s]+)\?([bq])\?([^?]*)\?=", re.IGNORECASE)
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
        label = _SUPERSETS.get(label, label).replace("_", "-").replace(" ", "-")
        if codec := _CODEC_BY_LABEL.get(label):
            return content.decode(codec, "replace")
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
    """Return the valid addresses in the headers of this name.

    Headers after the first `MAX_HEADER` characters, and addresses after the first `MAX_ADDRESSES`,
    are ignored.
    """
    texts = raw_headers(mail, name)
    lengths = accumulate(map(len, texts))
    texts = [text for text, length in zip(texts, lengths, strict=True) if length <= MAX_HEADER]
    return [
        Address(decode_words(display_name), *bare.rsplit("@", 1))
        for display_name, bare in islice(getaddresses(texts), MAX_ADDRESSES)
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
    """Decode the encoded words of a header (RFC 2047) and return it on one line.

    A word that is not valid stays as it is.
    """
    pieces: list[str] = []
    words: list[tuple[str, bytes]] = []  # adjacent ones, since a character may be split
    end = 0
    for found in _WORD.finditer(text):
        between = text[end : found.start()]
        if not words or not between.isspace():
            pieces += [*_joined(words), between]
            words = []
        content = _word_content(found[2], found[3])
        if content is None:
            pieces += [*_joined(words), found[0]]
            words = []
        else:
            words.append((found[1].partition("*")[0], content))  # after * is the language: RFC 2231
        end = found.end()
    whole = "".join([*pieces, *_joined(words), text[end:]])
    return printable(_NOT_TEXT.sub("\N{REPLACEMENT CHARACTER}", whole))


def _word_content(encoding: str, text: str) -> bytes | None:
    octets = text.encode()
    if encoding in "qQ":
        return binascii.a2b_qp(octets, header=True)
    try:
        return binascii.a2b_base64(octets + b"==")
    except binascii.Error:
        return None


def _joined(words: list[tuple[str, bytes]]) -> list[str]:
    """Decode adjacent words, those of the same charset together."""
    return [
        _decode(b"".join(content for _, content in same), charset)
        for charset, same in groupby(words, key=itemgetter(0))
    ]
