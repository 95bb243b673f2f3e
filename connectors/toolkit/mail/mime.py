"""Compose the mail of a message (RFC 5322, RFC 2045 to 2049, RFC 2231).

A composed mail is 7-bit throughout, unless an address needs SMTPUTF8 (RFC 6531). A message may
also provide a complete MIME text in `payload`, as `{"mime": "..."}`; it is sent unchanged, except
that Bcc is removed, and Message-ID and Date are added if they are missing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.errors import MessageError
from email.header import Header
from email.headerregistry import Address, UnstructuredHeader
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import SMTP, EmailPolicy
from email.utils import format_datetime

from connectors.base import Attachment, OutboundMessage, Rejected
from connectors.toolkit.mail.addresses import parse_mailbox

LINE_LIMIT = 998  # octets without CRLF (RFC 5322, 2.1.1)
FOLD_AT = 78
FILE_NAME_LIMIT = 150

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_HEADER_NAME = re.compile(r"[!-9;-~]+")
_LINE_END = re.compile(rb"\r\n|\r|\n")
_RAW_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:(.*)", re.DOTALL)
_MEDIA_TYPE = re.compile(
    r"""([\w!#$&^.+-]+)/([\w!#$&^.+-]+) \s*+ (?:;\s*+charset="?([\w.:-]++)"?)? \s*+ (?:;|$)""",
    re.ASCII | re.VERBOSE,
)
# Postroom sets these, or they are for the servers that relay and receive the message.
_RESERVED_HEADERS = frozenset(
    {
        "apparently-to",
        "authentication-results",
        "bcc",
        "cc",
        "date",
        "delivered-to",
        "dkim-signature",
        "from",
        "message-id",
        "mime-version",
        "received",
        "received-spf",
        "reply-to",
        "return-path",
        "sender",
        "subject",
        "to",
    }
)
_RESERVED_PREFIXES = ("arc-", "content-", "resent-")


def is_reserved_header(name: str) -> bool:
    """Return whether a message must not set this header of its e-mail."""
    lower = name.lower()
    return lower in _RESERVED_HEADERS or lower.startswith(_RESERVED_PREFIXES)


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail and its envelope.

    `recipients` maps each envelope address to its spelling in the message, and `recipient` is the
    message's own recipient as spelled there. `content` has CRLF line ends, is not dot-stuffed, and
    is 7-bit unless a raw message is 8-bit. `smtputf8` is set if an address or a header is not
    ASCII. `envelope_id` is the message's uid.
    """

    sender: str
    recipient: str
    recipients: Mapping[str, str]
    message_id: str
    envelope_id: str
    content: bytes
    smtputf8: bool


class _WirePolicy(EmailPolicy):
    """Writes headers so that no value can start another header.

    The folding of the standard library's policies turns a long ASCII word, as in List-Unsubscribe
    or References, into encoded words that are not decoded there, loses a space between some
    encoded words, and before Python 3.11.10 writes line ends that were hidden in one
    (CVE-2024-6923). The older `Header` class does none of that.
    """

    def fold_binary(self, name: str, value: str) -> bytes:
        if _CONTROL.search(str(value)):
            raise ValueError(f"the header {name} contains a control character")
        if str(value).isascii():
            folded = _fold_ascii(name, str(value))
        elif isinstance(value, UnstructuredHeader):
            encoded = Header(str(value), "utf-8", header_name=name).encode(linesep="\r\n")
            folded = f"{name}: {encoded}\r\n".encode("ascii")
        else:
            folded = super().fold_binary(name, value)
        lines = folded.removesuffix(b"\r\n").split(b"\r\n")
        if any(not line.startswith((b" ", b"\t")) for line in lines[1:]):
            raise ValueError(f"the header {name} contains a line break")
        if any(len(line) > LINE_LIMIT for line in lines):
            raise ValueError(f"the header {name} contains a word that is too long")
        return folded


def _fold_ascii(name: str, value: str) -> bytes:
    first, *rest = re.split(r"(?<=\S)(?=\s)", f" {value.strip()}".rstrip())
    lines = [f"{name}:{first}"]
    for word in rest:
        if len(lines[-1]) + len(word) > FOLD_AT:
            lines.append(word)
        else:
            lines[-1] += word
    return "\r\n".join([*lines, ""]).encode("ascii")


_COMPOSED = _WirePolicy(linesep="\r\n", cte_type="7bit")
_CONVERTED = SMTP.clone(cte_type="7bit", refold_source="none")


def compose(message: OutboundMessage, sender: str | None, return_path: str | None) -> Mail:
    """Compose the mail of a message.

    Args:
        message: The message to send.
        sender: The sender if the message names none.
        return_path: The envelope sender, with `{uid}` for the uid of the message; if it is None,
            the sender.

    Raises:
        Rejected: The message cannot be sent as a mail.
    """
    author = _sender(message.sender or sender)
    bounces_to = author.addr_spec
    if return_path:
        bounces_to = parse_mailbox(return_path.replace("{uid}", message.uid)).addr_spec
    envelope = message.remaining
    if envelope is None:
        envelope = (message.recipient, *message.cc, *message.bcc)
    recipients: dict[str, str] = {}
    for text in envelope:
        recipients.setdefault(_recipient(text).addr_spec, text)
    message_id = f"<{message.uid}@{author.domain}>"
    try:
        if message.payload is None:
            content = _composed(message, author, message_id)
        else:
            content, message_id = _raw(message, message_id)
    # The standard library's header parser raises all of these for malformed values.
    except (ValueError, LookupError, TypeError, AttributeError, MessageError) as error:
        raise Rejected(
            "5.6.0", f"the message cannot be composed: {type(error).__name__}"
        ) from error
    head = content.partition(b"\r\n\r\n")[0]
    in_ascii = head.isascii() and "".join([bounces_to, *recipients]).isascii()
    return Mail(
        sender=bounces_to,
        recipient=message.recipient,
        recipients=recipients,
        message_id=message_id,
        envelope_id=message.uid,
        content=content,
        smtputf8=not in_ascii,
    )


def encode_7bit(content: bytes) -> bytes:
    """Return a mail with its 8-bit parts encoded as quoted-printable or base64.

    Raises:
        Rejected: An 8-bit part does not name its charset.
    """
    try:
        converted = BytesParser(policy=SMTP).parsebytes(content).as_bytes(policy=_CONVERTED)
    except (ValueError, LookupError, MessageError) as error:
        raise Rejected("5.6.3", f"8-bit content: {type(error).__name__}") from error
    if not converted.isascii():
        raise Rejected(
            "5.6.3", "8-bit content without a charset, and the server does not support 8BITMIME"
        )
    return converted


def _sender(text: str | None) -> Address:
    if text is None:
        raise Rejected("5.1.7", "neither the message nor its agent has a sender")
    try:
        return parse_mailbox(text)
    except ValueError as error:
        raise Rejected("5.1.7", f"sender: {error}") from error


def _recipient(text: str) -> Address:
    try:
        return parse_mailbox(text)
    except ValueError as error:
        raise Rejected("5.1.3", f"recipient: {error}") from error


def _composed(message: OutboundMessage, author: Address, message_id: str) -> bytes:
    to = _recipient(message.recipient)
    cc = [_recipient(text) for text in message.cc]
    reply_to = [parse_mailbox(message.reply_to)] if message.reply_to else []
    shown = [author, to, *cc, *reply_to]
    utf8 = not all(address.addr_spec.isascii() for address in shown)

    mail = EmailMessage(policy=_COMPOSED.clone(utf8=utf8))
    mail["From"] = author
    mail["To"] = to
    if cc:
        mail["Cc"] = cc
    if reply_to:
        mail["Reply-To"] = reply_to
    if message.subject is not None:
        mail["Subject"] = message.subject
    mail["Date"] = message.created_at or datetime.now(UTC)
    mail["Message-ID"] = message_id
    for name, value in message.headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise Rejected("5.6.0", "the name of a header is not valid")
        if is_reserved_header(name):
            raise Rejected("5.6.0", f"the header {name} is reserved")
        mail[name] = value

    if message.html is None:
        mail.set_content(message.body)
    elif message.body:
        mail.set_content(message.body)
        mail.add_alternative(message.html, subtype="html")
    else:
        mail.set_content(message.html, subtype="html")
    for attachment in message.attachments:
        _attach(mail, attachment)
    return bytes(mail)


def _attach(mail: EmailMessage, attachment: Attachment) -> None:
    if attachment.content is None:
        raise Rejected("5.6.0", "an attachment has no content")
    found = _MEDIA_TYPE.match(attachment.content_type)
    # The two composite types must not be encoded as base64 (RFC 2045, 6.4).
    if found is None or found[1].lower() in {"multipart", "message"}:
        maintype, subtype, charset = "application", "octet-stream", None
    else:
        maintype, subtype, charset = found.groups()
    mail.add_attachment(
        attachment.content,
        maintype=maintype,
        subtype=subtype,
        params={"charset": charset} if charset else None,
        filename=clean_file_name(attachment.name),
    )


def clean_file_name(name: str) -> str:
    """Return a file name without folders and without invisible or reversing characters."""
    last = re.split(r"[/\\]", name)[-1]
    printable = "".join(c for c in last if c.isprintable()).strip(" .")
    return printable[-FILE_NAME_LIMIT:] or "attachment"


def _raw(message: OutboundMessage, message_id: str) -> tuple[bytes, str]:
    match message.payload:
        case {"mime": str(text), **rest} if not rest and not message.attachments:
            content = _LINE_END.sub(b"\r\n", text.encode("utf-8")).lstrip(b"\r\n")
        case _:
            raise Rejected("5.6.0", 'the payload must be {"mime": "..."}, without attachments')
    if b"\0" in content:
        raise Rejected("5.6.0", "the MIME text contains a NUL")

    head, _, body = content.partition(b"\r\n\r\n")
    fields = []
    own_id = has_date = None
    for field in re.split(rb"\r\n(?![ \t])", head):
        named = _RAW_FIELD.fullmatch(field)
        if named is None:
            raise Rejected("5.6.0", "the MIME text does not start with headers")
        name = named[1].lower()
        if name in {b"bcc", b"resent-bcc"}:
            continue
        fields.append(field)
        if name == b"message-id":
            own_id = named[2].decode().strip()
        has_date = has_date or name == b"date"
    if not own_id:
        fields.append(f"Message-ID: {message_id}".encode())
    if not has_date:
        fields.append(f"Date: {format_datetime(message.created_at or datetime.now(UTC))}".encode())
    return b"\r\n".join([*fields, b"", body]), own_id or message_id
