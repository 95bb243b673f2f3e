"""Sends mail through an SMTP server (RFC 5321; SIZE, 8BITMIME, SMTPUTF8, DSN, STARTTLS, AUTH)."""

import re
import time
from dataclasses import dataclass, field
from datetime import timedelta

from connectors.base import (
    Accepted,
    Connector,
    OutboundMessage,
    Rejected,
    SendError,
    StoreItems,
    Unavailable,
    Uncertain,
)
from connectors.smtp.connection import ClosingError, Connection, LostError, open_connection
from connectors.smtp.mailbox import read_mailbox
from connectors.smtp.pool import Pool
from connectors.smtp.settings import SmtpSettings
from connectors.toolkit.mail.mime import Mail, compose, seven_bit
from connectors.toolkit.mail.smtp_replies import ERRORS, TOO_MANY_RECIPIENTS, reply_error


class Smtp(Connector[SmtpSettings]):
    """The connector `smtp`.

    A certificate that cannot be verified is Unavailable, no Misconfigured: mostly it has
    expired, which the server's owner mends without us. Nothing is sent to whoever is there.
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
    def deadline(self) -> timedelta:
        return timedelta(seconds=self.settings.total_timeout_seconds)

    def send(self, message: OutboundMessage) -> Accepted:
        """Send the message to its recipients; see `connectors.toolkit.mail.mime` for what it becomes.

        The provider's id of it is its Message-ID, which is the same for every try.
        """
        ends_at = time.monotonic() + self.settings.total_timeout_seconds
        mail = compose(message, self.settings.sender, self.settings.return_path)
        idle = self._pool.take(ends_at)
        if idle is not None:
            try:
                return self._use(idle, mail)
            except LostError:
                pass  # before the mail was complete: nobody has it, a new connection may try
        try:
            return self._use(open_connection(self.settings, self._tls, ends_at), mail)
        except LostError as lost:
            raise Unavailable(lost.code, lost.detail) from lost

    @property
    def has_mailboxes(self) -> bool:
        return self.settings.mailbox is not None

    def read_mailboxes(self, store: StoreItems) -> None:
        """Read the mailbox that bounces and replies come to; see `connectors.smtp.mailbox`."""
        if self.settings.mailbox is not None:
            read_mailbox(self.settings.mailbox, store)

    def close(self) -> None:
        self._pool.close()

    def _use(self, connection: Connection, mail: Mail) -> Accepted:
        connection.begun += 1
        try:
            return _transact(connection, mail)
        except BaseException as error:
            if not isinstance(error, SendError):
                connection.close()  # which reply it would read next, nobody knows
            raise
        finally:
            self._pool.put(connection)


@dataclass(slots=True)
class _Recipients:
    """What the server said to each recipient, by the address as the message writes it."""

    taken: list[str] = field(default_factory=list)
    later: dict[str, Unavailable] = field(default_factory=dict)
    never: dict[str, Rejected] = field(default_factory=dict)

    @property
    def refused(self) -> dict[str, str]:
        return {address: error.detail for address, error in self.never.items()}

    def try_again(self) -> Unavailable:
        """What to raise once all that is possible now is done, where some are to wait."""
        first = next(iter(self.later.values()))
        waits = [error.retry_after for error in self.later.values() if error.retry_after]
        return Unavailable(
            first.code,
            first.detail,
            retry_after=max(waits, default=None),
            remaining=tuple(self.later),
            refused=self.refused,
        )


def _transact(connection: Connection, mail: Mail) -> Accepted:
    """Give the mail to the server. Raises SendError, or LostError where it has not got it."""
    content = _fitting(connection, mail)
    _begin(connection, mail, content)
    recipients = _offer(connection, mail)
    if not recipients.taken:
        if recipients.later:
            raise recipients.try_again()
        raise next(iter(recipients.never.values()))

    go_on = connection.command("DATA")
    if go_on.code != 354:
        raise _none_served(reply_error(go_on, mail.recipients), recipients)
    connection.transmit(content)
    try:
        last = connection.finish()
    except ClosingError as closing:
        raise _none_served(Unavailable(closing.code, closing.detail), recipients) from closing
    except LostError as lost:
        raise Uncertain(lost.code, lost.detail) from lost
    if last.code < 400 and not last.positive:
        connection.close()
        raise Uncertain(last.status, last.excerpt(mail.recipients))
    if not last.positive:
        raise _none_served(reply_error(last, mail.recipients), recipients)

    if recipients.later:
        raise recipients.try_again()
    return Accepted(
        provider_message_id=mail.message_id,
        code=last.status,
        detail=last.excerpt(mail.recipients),
        refused=recipients.refused,
    )


def _fitting(connection: Connection, mail: Mail) -> bytes:
    """The content in a form that this server takes. Raises Rejected where there is none."""
    if mail.smtputf8 and not connection.has_extn("smtputf8"):
        raise Rejected("5.6.7", "an address or a header needs SMTPUTF8, which the server lacks")
    content = mail.content
    if not content.isascii() and not connection.has_extn("8bitmime"):
        content = seven_bit(content)
    limit = connection.esmtp_features.get("size", "")
    # A server without a limit announces none, or 0 (RFC 1870, 4).
    if limit.isdecimal() and 0 < int(limit) < len(content):
        raise Rejected("5.3.4", f"{len(content)} octets; the server takes {limit}")
    return content


def _begin(connection: Connection, mail: Mail, content: bytes) -> None:
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
    if not reply.positive:
        raise reply_error(reply, mail.recipients)


def _offer(connection: Connection, mail: Mail) -> _Recipients:
    """Name each recipient to the server. Raises what concerns them all."""
    recipients = _Recipients()
    offered = iter(mail.recipients.items())
    for address, written in offered:
        command = f"RCPT TO:<{address}>"
        if connection.has_extn("dsn") and address.isascii():
            command += f" ORCPT=rfc822;{_xtext(address)}"
        reply = connection.command(command)
        if reply.positive:
            recipients.taken.append(written)
            continue
        error = reply_error(reply, mail.recipients, may_suppress=written == mail.recipient)
        if isinstance(error, Unavailable):
            recipients.later[written] = error
            if error.code in TOO_MANY_RECIPIENTS:
                recipients.later |= {rest: error for _, rest in offered}
        elif isinstance(error, Rejected):
            recipients.never[written] = error
        else:
            raise error
    return recipients


def _xtext(text: str) -> str:
    """`text`, which is ASCII, as a parameter of a command (RFC 3461, 4)."""
    return re.sub(r"[^!-*,-<>-~]", lambda found: f"+{ord(found[0]):02X}", text)


def _none_served(error: SendError, recipients: _Recipients) -> SendError:
    """`error` of the whole mail; those refused for good by themselves need not be tried again."""
    if isinstance(error, Unavailable) and recipients.never:
        error.remaining = (*recipients.taken, *recipients.later)
        error.refused = recipients.refused
    return error
