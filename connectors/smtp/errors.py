"""Errors of a connection to a mail server.

The table of SMTP reply codes is `connectors.toolkit.mail.smtp_replies.ERRORS`: bounces use the
same codes.
"""

import smtplib
import socket
import ssl

_CODES: tuple[tuple[type[OSError], str], ...] = (
    (socket.gaierror, "name_not_resolved"),
    (ssl.SSLError, "tls_failed"),
    (TimeoutError, "timed_out"),
    (ConnectionRefusedError, "connection_refused"),
)


class ConnectionLostError(Exception):
    """The connection is closed or unusable. `code` and `detail` are those of a SendError."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class ServiceClosingError(ConnectionLostError):
    """The server closed the connection with 421, so it did not execute the command."""


def connection_lost(error: BaseException | None) -> ConnectionLostError:
    """Return the error for a failed connection.

    Args:
        error: What failed. Anything but an OSError means that the server closed the connection.
    """
    if not isinstance(error, OSError) or isinstance(error, smtplib.SMTPException):
        return ConnectionLostError("disconnected", "the server closed the connection")
    code = next((code for kind, code in _CODES if isinstance(error, kind)), "disconnected")
    return ConnectionLostError(code, f"{type(error).__name__}: {error.strerror or error}")
