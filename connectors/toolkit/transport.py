"""The codes of network failures: one table for every connector, whatever its protocol."""

import socket
import ssl
from dataclasses import dataclass

from connectors.toolkit.excerpts import printable

# A certificate that cannot be verified is a temporary failure, not Misconfigured: usually it has
# expired and the provider will renew it. The messages wait, and none is sent to the wrong server.
CODES: tuple[tuple[type[OSError], str], ...] = (
    (socket.gaierror, "name_not_resolved"),
    (ssl.SSLError, "tls_failed"),
    (TimeoutError, "timed_out"),
    (ConnectionRefusedError, "connection_refused"),
)
OTHER_CODE = "connection_failed"


@dataclass(frozen=True, slots=True)
class TransportFailure:
    """The `code` and `detail` of the SendError that a network failure leads to."""

    code: str
    detail: str


def classify_failure(error: BaseException) -> TransportFailure:
    """Classify a network failure by the error that caused it.

    The detail names only that error and the operating system's reason: the texts of `requests`
    and `urllib3` quote the URL, which may contain secrets or the recipient.
    """
    cause = error
    while earlier := cause.__cause__ or cause.__context__:
        cause = earlier
    code = next((code for kind, code in CODES if isinstance(cause, kind)), OTHER_CODE)
    reason = cause.strerror if isinstance(cause, OSError) else None
    name = type(cause).__name__
    return TransportFailure(code, printable(f"{name}: {reason}" if reason else name))
