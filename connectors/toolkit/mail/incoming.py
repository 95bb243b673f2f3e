"""Read inbound e-mail: messages, bounces, complaints and automatic replies."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from email.errors import MessageError

from connectors.base import Attachment, Inbound, Receipt
from connectors.toolkit.mail.bounce_texts import is_from_daemon
from connectors.toolkit.mail.parser import MailLimitError, MimePart, parse_mail
from connectors.toolkit.mail.parts import read_parts
from connectors.toolkit.mail.reports import (
    in_reply_to_ids,
    message_ids,
    read_reports,
    uid_in_address,
)
from connectors.toolkit.mail.text import header, mailboxes, parse_date, raw_headers

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
"""The headers that are stored with a message; of several with one name, the first."""

RECIPIENT_HEADERS = (
    "X-Original-To",
    "Envelope-To",
    "X-Envelope-To",
    "To",
    "Cc",
    "Delivered-To",
)
"""The headers with the recipient, the most reliable first: the address before an alias was
resolved, then the mailbox."""

UNKNOWN = "unknown"

# What the standard library raises for maliciously malformed e-mail.
_PARSER_ERRORS = (ValueError, LookupError, TypeError, AttributeError, RecursionError, MessageError)


def read_mail(
    content: bytes, *, envelope_sender: str | None = None, envelope_recipients: Sequence[str] = ()
) -> list[Inbound | Receipt]:
    """Return the receipts of a bounce or complaint, or else a message for each envelope recipient.

    An e-mail that cannot be parsed or exceeds a limit becomes a message with the whole e-mail as
    an attachment. Nothing is raised.

    Args:
        content: The e-mail.
        envelope_sender: The sender of the SMTP envelope (RFC 5321, 3.3), empty or `<>` if there is
            none to reply to. None means to take it from the headers.
        envelope_recipients: The recipients of the SMTP envelope. If there are none, the recipient
            is taken from the headers.
    """
    try:
        return _read(parse_mail(content), content, envelope_sender, envelope_recipients)
    except _PARSER_ERRORS as error:
        reason = str(error) if isinstance(error, MailLimitError) else type(error).__name__
        message = _unparsed(content, envelope_sender, reason)
        return _copies(message, content, envelope_recipients or [UNKNOWN])


def _read(
    mail: MimePart, content: bytes, envelope_sender: str | None, envelope_recipients: Sequence[str]
) -> list[Inbound | Receipt]:
    recipients = [
        *envelope_recipients,
        *(address.addr_spec for name in RECIPIENT_HEADERS for address in mailboxes(mail, name)),
    ]
    message_id = next(iter(message_ids(header(mail, "Message-ID"))), None)
    identity = message_id.encode() if message_id else content
    first = next(iter(recipients), UNKNOWN)
    key = _key(identity, first)
    if receipts := read_reports(mail, content, recipients, key, envelope_sender):
        return [*receipts]

    senders = [str(address) for name in ("From", "Sender") for address in mailboxes(mail, name)]
    parts = read_parts(mail)
    uids = filter(None, map(uid_in_address, recipients))
    message = Inbound(
        key="",
        channel="email",
        sender=next(iter(senders), _bare(envelope_sender) or UNKNOWN),
        recipient=first,
        body=parts.text,
        html=parts.html,
        subject=header(mail, "Subject"),
        provider_message_id=message_id,
        attachments=parts.attachments,
        in_reply_to=tuple(dict.fromkeys([*in_reply_to_ids(mail), *uids])),
        automatic=_is_automatic(mail, envelope_sender),
        headers={name: value for name in HEADERS if (value := header(mail, name)) is not None},
        occurred_at=parse_date(header(mail, "Date")),
    )
    return _copies(message, identity, envelope_recipients or [first])


def _copies(
    message: Inbound, identity: bytes, recipients: Sequence[str]
) -> list[Inbound | Receipt]:
    """Return a message once for each recipient, with a key of its own."""
    return [
        replace(message, key=_key(identity, recipient), recipient=recipient)
        for recipient in dict.fromkeys(recipients)
    ]


def _key(identity: bytes, recipient: str) -> str:
    """Return the key of an e-mail to a recipient: a hash, since a Message-ID can be very long."""
    return hashlib.sha256(identity + b"\0" + recipient.encode("utf-8", "replace")).hexdigest()


def _bare(path: str | None) -> str | None:
    return path.strip("<> ") if path is not None else None


def _is_automatic(mail: MimePart, envelope_sender: str | None) -> bool:
    """Return whether an e-mail was sent automatically (RFC 3834, 2 and 5).

    That includes the marks in use before that RFC, and reports that name no message of ours.
    """
    marks = [
        mark
        for name in ("Auto-Submitted", "X-Autoreply", "X-Autorespond", "X-Autoresponder")
        for value in raw_headers(mail, name)
        if (mark := value.partition(";")[0].strip().lower()) != "no"
    ]
    precedence = (header(mail, "Precedence") or "").lower()
    return (
        bool(marks)
        or is_from_daemon(mail, envelope_sender)
        or precedence in {"auto_reply", "bulk", "junk"}
        or mail.get_content_type() == "multipart/report"
    )


def _unparsed(content: bytes, envelope_sender: str | None, reason: str) -> Inbound:
    return Inbound(
        key="",
        channel="email",
        sender=_bare(envelope_sender) or UNKNOWN,
        recipient=UNKNOWN,
        attachments=(Attachment("message.eml", "message/rfc822", content),),
        automatic=_bare(envelope_sender) == "",
        metadata={"unparsed": reason},
    )
