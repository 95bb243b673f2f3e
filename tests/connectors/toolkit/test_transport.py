import smtplib
import socket
import ssl

import requests
import urllib3

from connectors.toolkit.transport import TransportFailure, classify_failure


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def test_failure_is_classified_by_its_cause_without_quoting_the_request() -> None:
    url = "http://host/s3cret"
    rows = [
        (
            socket.gaierror(socket.EAI_NONAME, "Name not known"),
            TransportFailure("name_not_resolved", "gaierror: Name not known"),
        ),
        (
            ssl.SSLError(1, "wrong version"),
            TransportFailure("tls_failed", "SSLError: wrong version"),
        ),
        (TimeoutError("s3cret"), TransportFailure("timed_out", "TimeoutError")),
        (
            ConnectionRefusedError(111, "Connection refused"),
            TransportFailure("connection_refused", "ConnectionRefusedError: Connection refused"),
        ),
        (ConnectionResetError(), TransportFailure("connection_failed", "ConnectionResetError")),
        (
            smtplib.SMTPServerDisconnected("closed"),
            TransportFailure("connection_failed", "SMTPServerDisconnected"),
        ),
        (
            caused(
                requests.ConnectionError(url),
                caused(urllib3.exceptions.ProtocolError(url), TimeoutError()),
            ),
            TransportFailure("timed_out", "TimeoutError"),
        ),
        (
            requests.exceptions.InvalidHeader("s3cret"),
            TransportFailure("connection_failed", "InvalidHeader"),
        ),
    ]
    failures = []
    for error, expected in rows:
        if (found := classify_failure(error)) != expected:
            failures.append((error, found))
    assert not failures
