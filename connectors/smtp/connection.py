"""One connection to an SMTP server: opened, secured, authenticated, and bounded in time.

Speaks RFC 5321 through `smtplib`, which bounds each read and write by itself: a server that
sends one octet a minute would hold it forever. Here every one of them also ends with the send.
"""

import io
import math
import smtplib
import socket
import ssl
import time
from typing import TYPE_CHECKING

from connectors.base import Misconfigured, Unavailable
from connectors.smtp.settings import SmtpSettings
from connectors.toolkit.mail.smtp_replies import Reply, reply_error

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

# One TLS record: a socket applies its limit to each of them anew.
CHUNK_OCTETS = 16384
FAREWELL_SECONDS = 1.0

_CODES: tuple[tuple[type[OSError], str], ...] = (
    (socket.gaierror, "name_not_resolved"),
    (ssl.SSLError, "tls_failed"),
    (TimeoutError, "timed_out"),
    (ConnectionRefusedError, "connection_refused"),
)


class LostError(Exception):
    """The connection is gone, or of no more use; `code` and `detail` as in a SendError."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class ClosingError(LostError):
    """The server closes the connection with 421: it did not do what it was asked to."""


class Connection(smtplib.SMTP):
    """A connection over `sock`. All it does ends at `ends_at`, on the monotonic clock, or else
    it is closed and raises LostError. `begun` counts the messages that were started on it.
    """

    sock: socket.socket | None

    def __init__(self, sock: socket.socket, settings: SmtpSettings, ends_at: float) -> None:
        super().__init__(local_hostname=settings.helo_name or _address_literal(sock))
        self.sock = sock
        self.ends_at = ends_at
        self.silence_seconds = settings.read_timeout_seconds
        self.begun = 0

    @property
    def is_open(self) -> bool:
        return self.sock is not None

    def socket_in_time(self) -> socket.socket:
        """The socket, with no more time for its next operation than there is."""
        if self.sock is None:
            raise ConnectionError("closed")
        self.sock.settimeout(min(self.silence_seconds, _remaining_seconds(self.ends_at)))
        return self.sock

    def send(self, s: "ReadableBuffer | str") -> None:
        data = memoryview(s.encode(self.command_encoding) if isinstance(s, str) else s)
        try:
            for start in range(0, len(data), CHUNK_OCTETS):
                self.socket_in_time().sendall(data[start : start + CHUNK_OCTETS])
        except OSError as error:
            self.close()
            raise lost(error) from error

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None:
            self.file = io.BufferedReader(_Reader(self))
        try:
            code, text = super().getreply()
        except smtplib.SMTPException as error:
            self.close()
            raise lost(error.__context__) from error
        if not 200 <= code < 600:
            self.close()
            raise LostError("garbled", "the server does not speak SMTP")
        if code == 421:
            self.close()
            reply = _reply(code, text)
            raise ClosingError(reply.status, reply.excerpt())
        return code, text

    def command(self, line: str) -> Reply:
        """Send a command and read its reply. Raises LostError."""
        return _reply(*self.docmd(line))

    def transmit(self, content: bytes) -> None:
        """Send `content`, whose lines end with CRLF, but not the final dot. Raises LostError."""
        stuffed = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]
        self.send(stuffed if stuffed.endswith(b"\r\n") else stuffed + b"\r\n")

    def finish(self) -> Reply:
        """Send the dot and read the server's last word. Raises LostError.

        The server may be long over it, scanning the content for instance, and to give up early
        is to never know: so its silence may take all the time that is left (RFC 5321, 4.5.3.2.6).
        """
        usual, self.silence_seconds = self.silence_seconds, math.inf
        reply = self.command(".")
        self.silence_seconds = usual
        return reply

    def authenticate(self, username: str, password: str) -> None:
        """Log in, by one of the mechanisms that the server has. Raises LostError, Misconfigured,
        Unavailable.

        By one and no more: the others would fail too, and lock the account the sooner.
        """
        offered = self.esmtp_features.get("auth", "").upper().split()
        self.user, self.password = username, password
        try:
            if "PLAIN" in offered:
                self.auth("PLAIN", self.auth_plain)
            elif "LOGIN" in offered:
                self.auth("LOGIN", self.auth_login)
            elif "CRAM-MD5" in offered:
                self.auth("CRAM-MD5", self.auth_cram_md5)
            else:
                raise Misconfigured("no_auth", "the server has no AUTH that we have")
        except smtplib.SMTPAuthenticationError as error:
            raise _not_let_in(_reply(error.smtp_code, error.smtp_error), "AUTH") from None
        except (smtplib.SMTPException, ValueError) as error:
            raise Misconfigured("no_auth", f"AUTH: {type(error).__name__}") from None

    def secure(self, tls: ssl.SSLContext, host: str) -> None:
        """Go on in TLS. What the server has said so far no longer counts. Raises OSError."""
        self.file = None
        self.sock = tls.wrap_socket(self.socket_in_time(), server_hostname=host)

    def leave(self) -> None:
        """Take leave of the server, without waiting for its answer."""
        self.ends_at = time.monotonic() + FAREWELL_SECONDS
        try:
            self.putcmd("QUIT")
        except LostError:
            return
        self.close()


class _Reader(io.RawIOBase):
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        return self._connection.socket_in_time().recv_into(buffer)


def open_connection(settings: SmtpSettings, tls: ssl.SSLContext, ends_at: float) -> Connection:
    """A new connection, ready for its first message. Raises Unavailable, Misconfigured."""
    try:
        connection = Connection(_connect(settings, ends_at), settings, ends_at)
    except OSError as error:
        fault = lost(error)
        raise Unavailable(fault.code, fault.detail) from error
    try:
        _prepare(connection, settings, tls)
    except BaseException as error:
        connection.close()
        if isinstance(error, OSError):
            error = lost(error)
        if isinstance(error, LostError):
            raise Unavailable(error.code, error.detail) from error
        raise
    return connection


def _connect(settings: SmtpSettings, ends_at: float) -> socket.socket:
    found = socket.getaddrinfo(settings.host, settings.port_number, type=socket.SOCK_STREAM)
    fault = OSError("the host has no address")
    for family, kind, protocol, _, address in found:
        sock = socket.socket(family, kind, protocol)
        try:
            # The dot that ends the data must not wait for the data to be acknowledged.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(min(settings.connect_timeout_seconds, _remaining_seconds(ends_at)))
            sock.connect(address)
        except OSError as error:
            sock.close()
            fault = error
        else:
            return sock
    raise fault


def _remaining_seconds(ends_at: float) -> float:
    remaining = ends_at - time.monotonic()
    if remaining <= 0:
        raise TimeoutError("the total limit is used up")
    return remaining


def _prepare(connection: Connection, settings: SmtpSettings, tls: ssl.SSLContext) -> None:
    if settings.security == "tls":
        connection.secure(tls, settings.host)
    banner = _reply(*connection.getreply())
    if banner.code != 220:
        raise Unavailable(banner.status, banner.excerpt())
    _greet(connection)
    if settings.security == "starttls":
        if not connection.has_extn("starttls"):
            raise Misconfigured("no_starttls", "the server does not offer STARTTLS")
        go_on = connection.command("STARTTLS")
        if go_on.code != 220:
            raise _not_let_in(go_on, "STARTTLS")
        connection.secure(tls, settings.host)
        _greet(connection)
    if settings.username is not None and settings.password is not None:
        connection.authenticate(settings.username, settings.password.get_secret_value())


def _greet(connection: Connection) -> None:
    reply = _reply(*connection.ehlo())
    if reply.code in {500, 502}:
        reply = _reply(*connection.helo())
    if not reply.positive:
        raise _not_let_in(reply, "EHLO")


def _not_let_in(reply: Reply, command: str) -> Unavailable | Misconfigured:
    """A refusal of us, whatever the message. Its text is not told: it may quote what we sent."""
    detail = f"{reply.code} in answer to {command}"
    if reply.code >= 500:
        return Misconfigured(reply.status, detail)
    found = reply_error(reply)
    retry_after = found.retry_after if isinstance(found, Unavailable) else None
    return Unavailable(reply.status, detail, retry_after=retry_after)


def _address_literal(sock: socket.socket) -> str:
    """Our name where we are given none (RFC 5321, 4.1.4); a lookup could take long, and lie."""
    address: str = sock.getsockname()[0].partition("%")[0]
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def _reply(code: int, text: bytes | str) -> Reply:
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    return Reply(code, " ".join(text.split()))


def lost(error: BaseException | None) -> LostError:
    """What a fault of the transport is called; none means that the server closed."""
    if not isinstance(error, OSError) or isinstance(error, smtplib.SMTPException):
        return LostError("disconnected", "the server closed the connection")
    code = next((code for kind, code in _CODES if isinstance(error, kind)), "disconnected")
    return LostError(code, f"{type(error).__name__}: {error.strerror or error}")
