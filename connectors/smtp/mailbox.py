"""Read bounces and replies from an IMAP mailbox.

Implements RFC 9051, or RFC 3501 with MOVE and UIDPLUS where the settings need them. Each message
is read, stored by the caller, and only then marked as read, moved or deleted. If that fails
midway, the message is read again in the next round and recognized by its key.
"""

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Timer

from imapclient import DELETED, SEEN, IMAPClient, SocketTimeout
from imapclient.exceptions import (
    IMAPClientAbortError,
    IMAPClientError,
    IMAPClientReadOnlyError,
    LoginError,
    ProtocolError,
)

from connectors.base import Misconfigured, RawMail, StoreMail, Unavailable
from connectors.smtp.errors import connection_lost
from connectors.smtp.settings import MailboxSettings
from connectors.toolkit.excerpts import excerpt

# At DEBUG the library logs what the server sends.
logging.getLogger("imapclient").setLevel(logging.INFO)


class _Client(IMAPClient):  # type: ignore[misc] # imapclient has no type hints
    is_timed_out = False

    def has_capability(self, capability: str) -> bool:
        """Return whether the server has an extension.

        IMAP4rev2 includes MOVE and UIDPLUS (RFC 9051, appendix E).
        """
        is_included = capability in {"MOVE", "UIDPLUS"} and super().has_capability("IMAP4REV2")
        return bool(is_included or super().has_capability(capability))


def read_mailbox(settings: MailboxSettings, store: StoreMail) -> None:
    """Pass each unread message to `store`, and mark it as done when that returns.

    Raises:
        Unavailable: The server cannot be used at present, or the time limit was reached.
        Misconfigured: The server refuses the credentials or a command.
        Exception: Whatever `store` raises.
    """
    client = _connect(settings)
    timer = Timer(settings.total_timeout_seconds, _shut_down, [client])
    timer.daemon = True
    timer.start()
    try:
        with _classified_errors():
            _log_in(client, settings)
            client.select_folder(settings.folder)
            uids = sorted(client.search(["UNSEEN", "UNDELETED"]))
        for uid in uids[: settings.messages_per_round]:
            with _classified_errors():
                size, content = _fetch(client, uid, settings.message_limit_bytes)
            if content:
                store(RawMail(content, size))
                with _classified_errors():
                    _mark_done(client, uid, settings, is_whole=size <= len(content))
        with suppress(IMAPClientError, OSError):
            client.logout()
    except Unavailable as error:
        if client.is_timed_out:
            raise Unavailable("timed_out", "total_timeout_seconds exceeded") from error
        raise
    finally:
        timer.cancel()
        with suppress(OSError):  # already closed after a logout
            client.shutdown()


def _connect(settings: MailboxSettings) -> _Client:
    timeout = SocketTimeout(settings.connect_timeout_seconds, settings.read_timeout_seconds)
    with _classified_errors():
        try:
            return _Client(
                settings.host,
                settings.port_number,
                ssl=settings.security == "tls",
                ssl_context=settings.tls(),
                timeout=timeout,
            )
        except IMAPClientAbortError:
            raise
        except IMAPClientError as error:
            raise Unavailable("protocol_error", "the server did not send a greeting") from error


def _shut_down(client: _Client) -> None:
    """Make the operation in progress fail, because the time for the round is up."""
    client.is_timed_out = True
    with suppress(OSError):
        # A TLS socket's own method would discard state that the other thread is using.
        socket.socket.shutdown(client.socket(), socket.SHUT_RDWR)


def _log_in(client: _Client, settings: MailboxSettings) -> None:
    if settings.security == "starttls":
        if not client.has_capability("STARTTLS"):
            raise Misconfigured("no_starttls", "the server does not offer STARTTLS")
        client.starttls(settings.tls())
    try:
        client.login(settings.username, settings.password.get_secret_value())
    except LoginError as error:
        # The library raises LoginError for a lost connection too.
        if isinstance(error.__context__, IMAPClientAbortError):
            raise error.__context__ from None
        # The server's text is left out, because it may quote the password.
        if "[UNAVAILABLE]" in str(error):  # RFC 5530
            raise Unavailable(
                "login_unavailable", "the server cannot check logins at present"
            ) from None
        raise Misconfigured(
            "login_refused", "the server refused the username or password"
        ) from None
    if settings.move_to is not None and not client.has_capability("MOVE"):
        raise Misconfigured("no_move", "move_to: the server does not offer MOVE")
    if settings.delete and not client.has_capability("UIDPLUS"):
        raise Misconfigured("no_uidplus", "delete: the server does not offer UIDPLUS")


def _fetch(client: _Client, uid: int, limit_bytes: int) -> tuple[int, bytes]:
    """Return a message's size and its content up to the limit.

    The content is empty if the message no longer exists.
    """
    response = client.fetch([uid], ["RFC822.SIZE", f"BODY.PEEK[]<0.{limit_bytes}>"])
    fields = response.get(uid, {})
    return fields.get(b"RFC822.SIZE", 0), fields.get(b"BODY[]<0>") or b""


def _mark_done(client: _Client, uid: int, settings: MailboxSettings, *, is_whole: bool) -> None:
    if settings.move_to is not None:
        client.move([uid], settings.move_to)
    elif settings.delete and is_whole:
        client.add_flags([uid], [DELETED], silent=True)
        client.uid_expunge([uid])
    else:
        client.add_flags([uid], [SEEN], silent=True)


@contextmanager
def _classified_errors() -> Iterator[None]:
    """Raise errors of the IMAP client as Unavailable or Misconfigured."""
    try:
        yield
    except IMAPClientReadOnlyError as error:
        raise Misconfigured("read_only", "folder: the server allows reading only") from error
    except (OSError, IMAPClientAbortError) as error:
        lost = connection_lost(error)
        raise Unavailable(lost.code, lost.detail) from error
    except (ProtocolError, ValueError) as error:
        raise Unavailable("protocol_error", "the server violates the IMAP protocol") from error
    except IMAPClientError as error:
        # A folder is missing, for instance, or the permission to change it.
        raise Misconfigured("refused", excerpt(str(error))) from error
