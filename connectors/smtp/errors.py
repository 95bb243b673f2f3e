"""Errors of a connection to a mail server.

The table of SMTP reply codes is `connectors.toolkit.mail.smtp_replies.ERRORS`: bounces use the
same codes.
"""

from connectors.toolkit.transport import classify_failure


class ConnectionLostError(Exception):
    """The connection is closed or unusable. `code` and `detail` are those of a SendError."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class ServiceClosingError(ConnectionLostError):
    """The server closed the connection with 421, so it did not execute the command."""


def connection_lost(error: BaseException) -> ConnectionLostError:
    """Return the error for a failed connection."""
    failure = classify_failure(error)
    return ConnectionLostError(failure.code, failure.detail)
