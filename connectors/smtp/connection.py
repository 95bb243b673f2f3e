"""A connection to an SMTP server (RFC 5321): connect, secure, authenticate, send commands.

`smtplib` limits the time of each read and write only, so a server that sends one byte a minute
could hold a worker forever. Here every operation also ends at the connection's deadline.
"""

import io
import math
import smtplib
import socket
import ssl
import time
from typing import TYPE_CHECKING

from connectors.base import Misconfigured, Unavailable
from connectors.smtp.errors import ConnectionLostError, ServiceClosingError, connection_lost
from connectors.smtp.settings import SmtpSettings
from connectors.toolkit.mail.smtp_replies import Reply, reply_error

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

# The size of a TLS record: a socket applies its timeout to each record separately.
CHUNK_BYTES = 16384
QUIT_TIMEOUT_SECONDS = 1.0


class Connection(smtplib.SMTP):
    """An open connection to an SMTP server.

    Every operation either ends before `deadline`, a time of the monotonic clock, or closes the
    connection and raises ConnectionLostError. `message_count` is the number of messages started
    on this connection.
    """

    sock: socket.socket | None

    def __init__(self, sock: socket.socket, settings: SmtpSettings, deadline: float) -> None:
        super().__init__(local_hostname=settings.helo_name or _address_literal(sock))
        self.sock = sock
        self.deadline = deadline
        self.read_timeout_seconds = settings.read_timeout_seconds
        self.message_count = 0

    @property
    def is_open(self) -> bool:
        return self.sock is not None

    def socket_with_timeout(self) -> socket.socket:
        """Return the socket, with the timeout for its next operation set.

        Raises:
            TimeoutError: The deadline has passed.
            ConnectionError: The connection is closed.
        """
        if self.sock is None:
            raise ConnectionError("closed")
        self.sock.settimeout(min(self.read_timeout_seconds, _remaining_seconds(self.deadline)))
        return self.sock

    def send(self, s: "ReadableBuffer | str") -> None:
        data = memoryview(s.encode(self.command_encoding) if isinstance(s, str) else s)
        try:
            for start in range(0, len(data), CHUNK_BYTES):
                self.socket_with_timeout().sendall(data[start : start + CHUNK_BYTES])
        except OSError as error:
            self.close()
            raise connection_lost(error) from error

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None:
            self.file = io.BufferedReader(_Reader(self))
        try:
            code, text = super().getreply()
        except smtplib.SMTPException as error:
            self.close()
            raise connection_lost(error) from error
        if not 200 <= code < 600:
            self.close()
            raise ConnectionLostError("protocol_error", "the server does not speak SMTP")
        if code == 421:
            self.close()
            reply = _reply(code, text)
            raise ServiceClosingError(reply.status, reply.excerpt())
        return code, text

    def command(self, line: str) -> Reply:
        """Send a command and return its reply.

        Raises:
            ConnectionLostError: The server did not reply.
        """
        return _reply(*self.docmd(line))

    def send_content(self, content: bytes) -> None:
        """Send a message's content, without the dot that ends it.

        Args:
            content: The message, with lines that end in CRLF.

        Raises:
            ConnectionLostError: The content was not sent completely.
        """
        stuffed = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]
        self.send(stuffed if stuffed.endswith(b"\r\n") else stuffed + b"\r\n")

    def end_content(self) -> Reply:
        """Send the dot that ends the content and return the server's final reply.

        Only the deadline limits the wait. The server may take long, for instance to scan the
        content, and giving up early leaves it unknown whether the message was accepted (RFC 5321,
        4.5.3.2.6).

        Raises:
            ConnectionLostError: The server did not reply.
        """
        timeout, self.read_timeout_seconds = self.read_timeout_seconds, math.inf
        reply = self.command(".")
        self.read_timeout_seconds = timeout
        return reply

    def authenticate(self, username: str, password: str) -> None:
        """Log in with the first mechanism that the server offers.

        Other mechanisms are not tried: they would fail too, and could lock the account.

        Raises:
            ConnectionLostError: The server did not reply.
            Misconfigured: The credentials were refused, or no mechanism is supported.
            Unavailable: The server cannot authenticate at present.
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
                raise Misconfigured("no_auth", "the server offers none of PLAIN, LOGIN, CRAM-MD5")
        except smtplib.SMTPAuthenticationError as error:
            raise _refused(_reply(error.smtp_code, error.smtp_error), "AUTH") from None
        except (smtplib.SMTPException, ValueError) as error:
            raise Misconfigured("no_auth", f"AUTH: {type(error).__name__}") from None

    def start_tls(self, tls: ssl.SSLContext, host: str) -> None:
        """Encrypt the connection and discard what the server has sent so far.

        Raises:
            OSError: The handshake failed.
        """
        self.file = None
        self.sock = tls.wrap_socket(self.socket_with_timeout(), server_hostname=host)

    def disconnect(self) -> None:
        """Send QUIT and close the connection without waiting for the reply."""
        self.deadline = time.monotonic() + QUIT_TIMEOUT_SECONDS
        try:
            self.putcmd("QUIT")
        except ConnectionLostError:
            return
        self.close()


class _Reader(io.RawIOBase):
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        return self._connection.socket_with_timeout().recv_into(buffer)


def open_connection(settings: SmtpSettings, tls: ssl.SSLContext, deadline: float) -> Connection:
    """Return a new connection that is ready for a message.

    Args:
        settings: The server and how to log in.
        tls: The context that verifies the server.
        deadline: When the first message must have been sent, by the monotonic clock.

    Raises:
        Unavailable: The server cannot be used at present.
        Misconfigured: The server refuses the credentials or lacks an extension.
    """
    try:
        connection = Connection(_connect(settings, deadline), settings, deadline)
    except OSError as error:
        lost = connection_lost(error)
        raise Unavailable(lost.code, lost.detail) from error
    try:
        _prepare(connection, settings, tls)
    except BaseException as error:
        connection.close()
        if isinstance(error, OSError):
            error = connection_lost(error)
        if isinstance(error, ConnectionLostError):
            raise Unavailable(error.code, error.detail) from error
        raise
    return connection


def _connect(settings: SmtpSettings, deadline: float) -> socket.socket:
    addresses = socket.getaddrinfo(settings.host, settings.port_number, type=socket.SOCK_STREAM)
    failure = OSError("the host has no address")
    for family, kind, protocol, _, address in addresses:
        sock = socket.socket(family, kind, protocol)
        try:
            # The dot after the data must not wait until the data is acknowledged.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(min(settings.connect_timeout_seconds, _remaining_seconds(deadline)))
            sock.connect(address)
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    raise failure


def _remaining_seconds(deadline: float) -> float:
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError("total_timeout_seconds exceeded")
    return remaining


def _prepare(connection: Connection, settings: SmtpSettings, tls: ssl.SSLContext) -> None:
    if settings.security == "tls":
        connection.start_tls(tls, settings.host)
    banner = _reply(*connection.getreply())
    if banner.code != 220:
        raise Unavailable(banner.status, banner.excerpt())
    _say_hello(connection)
    if settings.security == "starttls":
        if not connection.has_extn("starttls"):
            raise Misconfigured("no_starttls", "the server does not offer STARTTLS")
        reply = connection.command("STARTTLS")
        if reply.code != 220:
            raise _refused(reply, "STARTTLS")
        connection.start_tls(tls, settings.host)
        _say_hello(connection)
    if settings.username is not None and settings.password is not None:
        connection.authenticate(settings.username, settings.password.get_secret_value())


def _say_hello(connection: Connection) -> None:
    reply = _reply(*connection.ehlo())
    if reply.code in {500, 502}:
        reply = _reply(*connection.helo())
    if not reply.is_positive:
        raise _refused(reply, "EHLO")


def _refused(reply: Reply, command: str) -> Unavailable | Misconfigured:
    """Return the error for a reply_error that does not depend on the message.

    The text of the reply is left out, because it may quote credentials.
    """
    detail = f"{command} was answered with {reply.code}"
    if reply.code >= 500:
        return Misconfigured(reply.status, detail)
    error = reply_error(reply)
    retry_after = error.retry_after if isinstance(error, Unavailable) else None
    return Unavailable(reply.status, detail, retry_after=retry_after)


def _address_literal(sock: socket.socket) -> str:
    """Return the local address as a name for EHLO (RFC 5321, 4.1.4).

    Looking up the host name could take long and return a wrong name.
    """
    address: str = sock.getsockname()[0].partition("%")[0]
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def _reply(code: int, text: bytes | str) -> Reply:
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    return Reply(code, " ".join(text.split()))
