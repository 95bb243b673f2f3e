"""Collects the mail of a mailbox over IMAP (RFC 9051, or RFC 3501 with MOVE and UIDPLUS where
those are needed).

A mail is read, kept by the caller, and only then marked, moved or deleted. Where that breaks off
in between, it is read again, and known by its key.
"""

import imaplib
import re
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from connectors.base import Inbound, Misconfigured, Receipt, StoreItems, Unavailable
from connectors.smtp.connection import lost
from connectors.smtp.settings import MailboxSettings
from connectors.toolkit.http.replies import excerpt
from connectors.toolkit.mail.incoming import read_mail

_SIZE = re.compile(rb"RFC822\.SIZE (\d+)")


class _Connection(imaplib.IMAP4):
    """A connection that is cut when the time for a round is over."""

    def __init__(self, settings: MailboxSettings) -> None:
        self._settings = settings
        self._end = threading.Timer(settings.total_timeout_seconds, self._cut)
        self._end.daemon = True
        super().__init__(settings.host, settings.port_number, settings.silence_timeout_seconds)

    # Where imaplib itself has its variant for TLS; its type stubs leave it out.
    def _create_socket(self, timeout: float | None) -> socket.socket:
        sock: socket.socket = super()._create_socket(timeout)  # type: ignore[misc]
        if self._settings.security == "tls":
            sock = self._settings.tls().wrap_socket(sock, server_hostname=self._settings.host)
        self._end.start()
        return sock

    def shutdown(self) -> None:
        self._end.cancel()
        super().shutdown()

    def _cut(self) -> None:
        with suppress(OSError):
            # Not the method of a TLS socket, which takes away what the other thread is using.
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


def read_mailbox(settings: MailboxSettings, store: StoreItems) -> None:
    """Give each unread mail to `store`, and mark it as done where that returns True. Raises
    Unavailable, Misconfigured, and what `store` raises."""
    with _faults_blamed():
        connection = _Connection(settings)
    try:
        with _faults_blamed():
            _enter(connection, settings)
            uids = _unread(connection)
        for uid in uids[: settings.mails_per_round]:
            with _faults_blamed():
                size, content = _fetch(connection, uid, settings.mail_limit_bytes)
            if content and store(_read(content, size)):
                with _faults_blamed():
                    _finish(connection, uid, settings, is_whole=size <= len(content))
        with _faults_blamed():
            connection.logout()
    finally:
        with suppress(OSError):  # it is closed already, unless something failed
            connection.shutdown()


def _enter(connection: _Connection, settings: MailboxSettings) -> None:
    if settings.security == "starttls":
        if "STARTTLS" not in connection.capabilities:
            raise Misconfigured("no_starttls", "the server does not offer STARTTLS")
        connection.starttls(settings.tls())
    try:
        connection.login(settings.username, settings.password.get_secret_value())
    except (imaplib.IMAP4.abort, OSError):
        raise
    except imaplib.IMAP4.error as error:
        # Its text is not told: it may quote what we sent.
        if "[UNAVAILABLE]" in str(error):  # RFC 5530
            raise Unavailable("login_unavailable", "the server cannot log in now") from None
        raise Misconfigured(
            "login_refused", "the server refuses the username or password"
        ) from None
    _check_extensions(connection, settings)
    _demand("SELECT", connection.select(f'"{settings.folder}"'))


def _check_extensions(connection: _Connection, settings: MailboxSettings) -> None:
    _, answer = connection.capability()
    offered = b" ".join(answer).decode("ascii", "replace").upper().split()
    wanted = [(settings.move_to is not None, "MOVE"), (settings.delete, "UIDPLUS")]
    for is_wanted, name in wanted:
        if is_wanted and not {name, "IMAP4REV2"} & set(offered):
            raise Misconfigured(f"no_{name.lower()}", f"the server does not offer {name}")


def _unread(connection: _Connection) -> list[str]:
    """The UIDs of the mails that wait, the oldest first."""
    [found, *_] = _demand("SEARCH", connection.uid("SEARCH", "UNSEEN", "UNDELETED"))
    return sorted((found or b"").decode("ascii").split(), key=int)


def _fetch(connection: _Connection, uid: str, limit_bytes: int) -> tuple[int, bytes]:
    """The size of a mail, and its content up to the limit; empty where it is gone."""
    wanted = f"(RFC822.SIZE BODY.PEEK[]<0.{limit_bytes}>)"
    answer = _demand("FETCH", connection.uid("FETCH", uid, wanted))
    literals = [item for item in answer if isinstance(item, tuple)]
    said = b" ".join(item[0] if isinstance(item, tuple) else item or b"" for item in answer)
    size = _SIZE.search(said)
    if not literals or size is None:
        return 0, b""
    return int(size[1]), literals[0][1]


def _read(content: bytes, size: int) -> list[Receipt | Inbound]:
    items = read_mail(content)
    if size <= len(content):
        return items
    cut = {"size_bytes": size, "read_bytes": len(content)}
    return [
        replace(item, metadata={**item.metadata, **cut}) if isinstance(item, Inbound) else item
        for item in items
    ]


def _finish(
    connection: _Connection, uid: str, settings: MailboxSettings, *, is_whole: bool
) -> None:
    if settings.move_to is not None:
        _demand("MOVE", connection.uid("MOVE", uid, f'"{settings.move_to}"'))
    elif settings.delete and is_whole:
        _demand("STORE", connection.uid("STORE", uid, "+FLAGS.SILENT", r"(\Deleted)"))
        _demand("EXPUNGE", connection.uid("EXPUNGE", uid))
    else:
        _demand("STORE", connection.uid("STORE", uid, "+FLAGS.SILENT", r"(\Seen)"))


def _demand(command: str, answer: tuple[str, Sequence[Any]]) -> Sequence[Any]:
    """The data of an answer. Raises Misconfigured where it is a refusal: a folder is missing, or
    a right to it."""
    result, data = answer
    if result != "OK":
        said = b" ".join(part for part in data if isinstance(part, bytes))
        raise Misconfigured("refused", f"{command}: {excerpt(said.decode('utf-8', 'replace'))}")
    return data


@contextmanager
def _faults_blamed() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        fault = lost(error)
        raise Unavailable(fault.code, fault.detail) from error
    except imaplib.IMAP4.abort as error:
        fault = lost(error)
        raise Unavailable(fault.code, fault.detail) from error
    except imaplib.IMAP4.error as error:
        raise Unavailable("garbled", "the server does not keep to IMAP") from error
