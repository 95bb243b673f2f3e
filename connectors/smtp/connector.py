"""Send e-mail through an SMTP server.

Implements RFC 5321 with the extensions SIZE, 8BITMIME, SMTPUTF8, DSN, STARTTLS and AUTH.
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from connectors.base import (
    Accepted,
    Connector,
    Inbound,
    OutboundMessage,
    RawMail,
    Receipt,
    Rejected,
    SendError,
    StoreMail,
    Unavailable,
    Uncertain,
)
from connectors.smtp.connection import Connection, open_connection
from connectors.smtp.errors import ConnectionLostError, ServiceClosingError
from connectors.smtp.pool import Pool
from connectors.smtp.settings import SmtpSettings
from connectors.toolkit.mail.incoming import read_mail
from connectors.toolkit.mail.mime import Mail, compose, encode_7bit
from connectors.toolkit.mail.smtp_replies import ERRORS, TOO_MANY_RECIPIENTS, reply_error


class Smtp(Connector[SmtpSettings]):
    """Send e-mail through an SMTP server, and read bounces and replies from a mailbox.

    A certificate that cannot be verified is Unavailable rather than Misconfigured: usually it has
    expired, and the server's owner will renew it. Until then nothing is sent.
    """

    Settings = SmtpSettings
    documentation = "https://www.rfc-editor.org/rfc/rfc5321"
    errors = ERRORS
    channels = frozenset({"email"})
    attachment_sources = frozenset({"content"})

    def __init__(self, settings: SmtpSettings) -> None:
        super().__init__(settings)
        self._tls = settings.tls()
        self._pool = Pool(settings)

    @property
    def send_timeout(self) -> timedelta:
        return timedelta(seconds=self.settings.total_timeout_seconds)

    def send(self, message: OutboundMessage) -> Accepted:
        """Send the message to its recipients.

        The provider's message ID is the Message-ID, which is the same for every attempt.
        """
        deadline = time.monotonic() + self.settings.total_timeout_seconds
        mail = compose(message, self.settings.sender, self.settings.return_path)
        connection = self._pool.acquire(deadline)
        if connection is not None:
            try:
                return self._send_on(connection, mail)
            except ConnectionLostError:
                pass  # the message was not sent completely, so a new connection may try
        try:
            return self._send_on(open_connection(self.settings, self._tls, deadline), mail)
        except ConnectionLostError as lost:
            raise Unavailable(lost.code, lost.detail) from lost

    @property
    def has_mailboxes(self) -> bool:
        return self.settings.mailbox is not None

    def read_mailboxes(self, store: StoreMail) -> None:
        """Read bounces and replies from the mailbox, if there is one."""
        if self.settings.mailbox is not None:
            # Only agents with a mailbox need the IMAP client.
            from connectors.smtp.mailbox import read_mailbox  # noqa: PLC0415

            read_mailbox(self.settings.mailbox, store)

    def parse_mail(self, mail: RawMail) -> Sequence[Receipt | Inbound]:
        items = read_mail(mail.content)
        if mail.size_bytes <= len(mail.content):
            return items
        truncation = {"size_bytes": mail.size_bytes, "read_bytes": len(mail.content)}
        return [
            replace(item, metadata={**item.metadata, **truncation})
            if isinstance(item, Inbound)
            else item
            for item in items
        ]

    def close(self) -> None:
        self._pool.close()

    def _send_on(self, connection: Connection, mail: Mail) -> Accepted:
        connection.message_count += 1
        try:
            return _send(connection, mail)
        except BaseException as error:
            if not isinstance(error, SendError):
                connection.close()  # the next reply could belong to this message
            raise
        finally:
            self._pool.release(connection)


@dataclass(slots=True)
class _Recipients:
    """The server's reply to each recipient, by the address as written in the message."""

    accepted: list[str] = field(default_factory=list)
    deferred: dict[str, Unavailable] = field(default_factory=dict)
    rejected: dict[str, Rejected] = field(default_factory=dict)

    @property
    def refused(self) -> dict[str, str]:
        return {address: error.detail for address, error in self.rejected.items()}

    def retry(self) -> Unavailable:
        """Return the error that has the deferred recipients tried again."""
        first = next(iter(self.deferred.values()))
        waits = [error.retry_after for error in self.deferred.values() if error.retry_after]
        return Unavailable(
            first.code,
            first.detail,
            retry_after=max(waits, default=None),
            remaining=tuple(self.deferred),
            refused=self.refused,
            is_soft_bounce=any(error.is_soft_bounce for error in self.deferred.values()),
        )


def _send(connection: Connection, mail: Mail) -> Accepted:
    """Send one message in one transaction.

    Raises:
        SendError: The server refused it, or did not reply after the end of the content.
        ConnectionLostError: The connection was lost before the end of the content.
    """
    content = _encode(connection, mail)
    _send_sender(connection, mail, content)
    recipients = _send_recipients(connection, mail)
    if not recipients.accepted:
        if recipients.deferred:
            raise recipients.retry()
        raise next(iter(recipients.rejected.values()))

    reply = connection.command("DATA")
    if reply.code != 354:
        raise _with_refused(reply_error(reply, mail.recipients), recipients)
    connection.send_content(content)
    try:
        reply = connection.end_content()
    except ServiceClosingError as closing:
        raise _with_refused(Unavailable(closing.code, closing.detail), recipients) from closing
    except ConnectionLostError as lost:
        raise Uncertain(lost.code, lost.detail) from lost
    if reply.code < 400 and not reply.is_positive:
        connection.close()
        raise Uncertain(reply.status, reply.excerpt(mail.recipients))
    if not reply.is_positive:
        raise _with_refused(reply_error(reply, mail.recipients), recipients)

    if recipients.deferred:
        raise recipients.retry()
    return Accepted(
        provider_message_id=mail.message_id,
        code=reply.status,
        detail=reply.excerpt(mail.recipients),
        refused=recipients.refused,
    )


def _encode(connection: Connection, mail: Mail) -> bytes:
    """Return the content in an encoding that the server accepts.

    Raises:
        Rejected: There is none, or the content is too large.
    """
    if mail.smtputf8 and not connection.has_extn("smtputf8"):
        raise Rejected(
            "5.6.7", "an address or a header requires SMTPUTF8, which the server does not support"
        )
    content = mail.content
    if not content.isascii() and not connection.has_extn("8bitmime"):
        content = encode_7bit(content)
    limit = connection.esmtp_features.get("size", "")
    # A server without a limit announces no value or 0 (RFC 1870, 4).
    if limit.isdecimal() and 0 < int(limit) < len(content):
        raise Rejected("5.3.4", f"{len(content)} bytes; the server's limit is {limit}")
    return content


def _send_sender(connection: Connection, mail: Mail, content: bytes) -> None:
    command = f"MAIL FROM:<{mail.sender}>"
    if connection.has_extn("size"):
        command += f" SIZE={len(content)}"
    if not content.isascii():
        command += " BODY=8BITMIME"
    if mail.smtputf8:
        command += " SMTPUTF8"
    if connection.has_extn("dsn"):
        command += f" ENVID={_xtext(mail.envelope_id)}"
    connection.command_encoding = "utf-8" if mail.smtputf8 else "ascii"
    reply = connection.command(command)
    if not reply.is_positive:
        raise reply_error(reply, mail.recipients)


def _send_recipients(connection: Connection, mail: Mail) -> _Recipients:
    """Send each recipient to the server.

    Raises:
        SendError: A reply_error that concerns the whole message.
    """
    recipients = _Recipients()
    remaining = iter(mail.recipients.items())
    for address, written in remaining:
        command = f"RCPT TO:<{address}>"
        if connection.has_extn("dsn") and address.isascii():
            command += f" ORCPT=rfc822;{_xtext(address)}"
        reply = connection.command(command)
        if reply.is_positive:
            recipients.accepted.append(written)
            continue
        error = reply_error(reply, mail.recipients, may_suppress=written == mail.recipient)
        if isinstance(error, Unavailable):
            recipients.deferred[written] = error
            if error.code in TOO_MANY_RECIPIENTS:
                recipients.deferred |= {rest: error for _, rest in remaining}
        elif isinstance(error, Rejected):
            recipients.rejected[written] = error
        else:
            raise error
    return recipients


def _xtext(text: str) -> str:
    """Encode an ASCII text as the value of a DSN parameter (RFC 3461, 4)."""
    return re.sub(r"[^!-*,-<>-~]", lambda found: f"+{ord(found[0]):02X}", text)


def _with_refused(error: SendError, recipients: _Recipients) -> SendError:
    """Exclude recipients that were refused individually from the next attempt."""
    if isinstance(error, Unavailable) and recipients.rejected:
        error.remaining = (*recipients.accepted, *recipients.deferred)
        error.refused = recipients.refused
    return error
