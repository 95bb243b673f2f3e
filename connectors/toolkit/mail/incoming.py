"""Reads mail that comes to us: letters, bounces, complaints and automatic replies.

A letter is read as RFC 5322 and MIME have it, with the parser of the standard library and its
older policy: that one does not fail over malformed headers, and takes linear time.
"""

import hashlib
from email import message_from_bytes
from email.errors import MessageError
from email.policy import Compat32

from connectors.base import Attachment, Inbound, Receipt
from connectors.toolkit.mail.parts import read_parts
from connectors.toolkit.mail.reports import answered_ids, message_ids, read_reports, uid_in_address
from connectors.toolkit.mail.text import MimePart, header, mailboxes, moment, raw_headers

HEADERS = (
    "From",
    "To",
    "Cc",
    "Reply-To",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Return-Path",
    "Auto-Submitted",
    "Precedence",
    "List-Id",
    "Authentication-Results",
)
"""What is kept of a letter's headers; the first where there are several of a name."""

RECIPIENT_HEADERS = (
    "X-Original-To",
    "Envelope-To",
    "X-Envelope-To",
    "To",
    "Cc",
    "Delivered-To",
)
"""Whom a mail came to, the surest first: before an alias led to the mailbox, then after it."""

# The parser looks at each line once for each multipart that the line is inside of. Of these it
# takes 3 seconds; a mail that is no attack needs a hundredth.
MAX_COMPARISONS = 10_000_000


class _AsItCame(Compat32):
    """With 8-bit text in headers, which the original replaces."""

    def header_fetch_parse(self, name: str, value: str) -> str:  # noqa: ARG002 - as the original
        return value


_AS_IT_CAME = _AsItCame()

UNKNOWN = "unknown"

# How the standard library fails over what was made to make it fail.
_ILLEGIBLE = (ValueError, LookupError, TypeError, AttributeError, RecursionError, MessageError)


def read_mail(
    content: bytes, *, envelope_sender: str | None = None, envelope_recipient: str | None = None
) -> list[Inbound | Receipt]:
    """What the mail `content` is: a receipt for each recipient of ours that it reports of, else
    one message.

    The envelope is what the server was told (RFC 5321, 3.3), the sender empty or `<>` where
    nobody is to be answered. What is not given is read from the headers that servers put in on
    delivery. A mail that cannot be read becomes a message with the whole of it as a file. Raises
    nothing.
    """
    try:
        mail = _parse(content)
        return _read(mail, content, envelope_sender, envelope_recipient)
    except _ILLEGIBLE as error:
        return [_unread(content, envelope_sender, envelope_recipient, type(error).__name__)]


def _parse(content: bytes) -> MimePart:
    if content.count(b"\n") * content.lower().count(b"boundary") > MAX_COMPARISONS:
        raise ValueError("too many parts within parts for its length")
    return message_from_bytes(content, policy=_AS_IT_CAME)


def _read(
    mail: MimePart, content: bytes, envelope_sender: str | None, envelope_recipient: str | None
) -> list[Inbound | Receipt]:
    came_to = [one.addr_spec for name in RECIPIENT_HEADERS for one in mailboxes(mail, name)]
    if envelope_recipient:
        came_to.insert(0, envelope_recipient)
    recipient = next(iter(came_to), UNKNOWN)
    message_id = next(iter(message_ids(header(mail, "Message-ID"))), None)
    key = _key(message_id.encode() if message_id else content, recipient)
    if receipts := read_reports(mail, came_to, key):
        return [*receipts]

    senders = [str(one) for name in ("From", "Sender") for one in mailboxes(mail, name)]
    parts = read_parts(mail)
    uids = filter(None, map(uid_in_address, came_to))
    letter = Inbound(
        key=key,
        channel="email",
        sender=next(iter(senders), _bare(envelope_sender) or UNKNOWN),
        recipient=recipient,
        body=parts.text,
        html=parts.html,
        subject=header(mail, "Subject"),
        provider_message_id=message_id,
        attachments=parts.attachments,
        in_reply_to=tuple(dict.fromkeys([*answered_ids(mail), *uids])),
        automatic=_is_automatic(mail, envelope_sender),
        headers={name: value for name in HEADERS if (value := header(mail, name)) is not None},
        occurred_at=moment(header(mail, "Date")),
    )
    return [letter]


def _key(identity: bytes, recipient: str) -> str:
    """One key for each mail and recipient. A digest, since a Message-ID may have any length."""
    return hashlib.sha256(identity + b"\0" + recipient.encode("utf-8", "replace")).hexdigest()


def _bare(path: str | None) -> str | None:
    return path.strip("<> ") if path is not None else None


def _is_automatic(mail: MimePart, envelope_sender: str | None) -> bool:
    """Whether no person wrote this (RFC 3834, 2 and 5). Its marks before that RFC count too, and a
    report that names no message of ours.
    """
    marks = [
        said
        for name in ("Auto-Submitted", "X-Autoreply", "X-Autorespond", "X-Autoresponder")
        for value in raw_headers(mail, name)
        if (said := value.partition(";")[0].strip().lower()) != "no"
    ]
    precedence = (header(mail, "Precedence") or "").lower()
    return_path = envelope_sender
    if return_path is None:
        return_path = next(iter(raw_headers(mail, "Return-Path")), None)
    return (
        bool(marks)
        or precedence in {"auto_reply", "bulk", "junk"}
        or _bare(return_path) == ""
        or mail.get_content_type() == "multipart/report"
    )


def _unread(
    content: bytes, envelope_sender: str | None, envelope_recipient: str | None, fault: str
) -> Inbound:
    recipient = envelope_recipient or UNKNOWN
    return Inbound(
        key=_key(content, recipient),
        channel="email",
        sender=_bare(envelope_sender) or UNKNOWN,
        recipient=recipient,
        attachments=(Attachment("message.eml", "message/rfc822", content),),
        automatic=_bare(envelope_sender) == "",
        metadata={"unread": fault},
    )
