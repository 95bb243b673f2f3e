"""An IMAP server on loopback with the commands that reading a mailbox needs (RFC 9051)."""

import re
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

CREDENTIALS = {"username": "bounces@example.org", "password": 'pa ss"wo\\rd'}
DEFAULT_OFFERS = "IMAP4rev1 MOVE UIDPLUS"
_WORD = re.compile(rb'"((?:[^"\\]|\\.)*)"|(\([^)]*\)|[^\s"]+)')


@dataclass
class StoredMail:
    content: bytes
    flags: set[str] = field(default_factory=set)


@dataclass
class ImapServer:
    """An IMAP server.

    `folders` holds the mails of each folder by UID. `offers` lists its capabilities, `commands`
    the commands received, without passwords. `answers` maps commands to a reply or an action that
    replaces them, and `greeting` to one that replaces the greeting.
    """

    tls: ssl.SSLContext | None = None
    implicit: bool = False
    offers: str = DEFAULT_OFFERS
    folders: dict[str, dict[int, StoredMail]] = field(
        default_factory=lambda: {"INBOX": {}, "Done": {}}
    )
    commands: list[str] = field(default_factory=list)
    answers: dict[str, "str | Callable[[Session], None]"] = field(default_factory=dict)
    stopping: threading.Event = field(default_factory=threading.Event)

    def reset(self) -> None:
        """Remove all mails, commands and answers of an earlier test."""
        self.offers = DEFAULT_OFFERS
        self.folders = {"INBOX": {}, "Done": {}}
        self.commands = []
        self.answers = {}

    def put(self, content: bytes, *flags: str) -> int:
        """Add a mail to the inbox and return its UID."""
        uid = 1 + max((uid for mails in self.folders.values() for uid in mails), default=7)
        self.folders["INBOX"][uid] = StoredMail(content, set(flags))
        return uid

    def flags(self, uid: int) -> set[str]:
        return self.folders["INBOX"][uid].flags

    def start(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sessions: list[Session] = []
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def stop(self) -> None:
        self.stopping.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        for session in self._sessions:
            session.cut()
            session.join()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sessions.append(Session(self, sock))
            self._sessions[-1].start()


class Session(threading.Thread):
    """A connection to the server."""

    def __init__(self, server: ImapServer, sock: socket.socket) -> None:
        super().__init__()
        self.server = server
        self._sock = sock
        self._tag = "*"
        self._mails: dict[int, StoredMail] = {}

    def say(self, line: str | bytes) -> None:
        self._sock.sendall((line.encode() if isinstance(line, str) else line) + b"\r\n")

    def cut(self) -> None:
        """Close the connection."""
        with suppress(OSError):  # the client disconnected first
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def drip(self) -> None:
        """Send a reply without an end, one byte at a time."""
        self._sock.sendall(b"* OK ")
        while not self.server.stopping.wait(0.02):
            self._sock.sendall(b".")

    def read_only(self) -> None:
        """Open a folder without permission to change it."""
        self.say("* OK [READ-ONLY] no changes")
        self.say(f"{self._tag} OK [READ-ONLY] selected")

    def invalid_fetch(self) -> None:
        """Send a reply to FETCH that violates the protocol."""
        self.say("* 1 FETCH (UID)")
        self.say(f"{self._tag} OK done")

    def run(self) -> None:
        with suppress(OSError), self._sock:
            if self.server.implicit and self.server.tls:
                self._sock = self.server.tls.wrap_socket(self._sock, server_side=True)
            self._talk()
        self._sock.close()

    def _talk(self) -> None:
        if not self._instead("greeting"):
            self.say("* OK ready")
        while line := self._line():
            words = [
                re.sub(rb"\\(.)", rb"\1", quoted) or bare for quoted, bare in _WORD.findall(line)
            ]
            tag, *command = [word.decode() for word in words]
            is_by_uid = command[0] == "UID"
            verb = command[is_by_uid]
            known = command[:2] if verb == "LOGIN" else command
            self.server.commands.append(" ".join(known))
            if self._instead(verb, tag):
                continue
            answer = getattr(self, f"_do_{verb.lower()}")(*command[is_by_uid + 1 :])
            self.say(f"{tag} {answer or 'OK done'}")
            if verb == "LOGOUT":
                return
            if verb == "STARTTLS" and self.server.tls:
                self._sock = self.server.tls.wrap_socket(self._sock, server_side=True)

    def _line(self) -> bytes:
        line = b""
        while not line.endswith(b"\r\n"):
            byte = self._sock.recv(1)
            if not byte:
                return b""
            line += byte
        return line

    def _instead(self, verb: str, tag: str = "*") -> bool:
        self._tag = tag
        answer = self.server.answers.get(verb)
        if isinstance(answer, str):
            self.say(f"{tag} {answer}")
        elif answer is not None:
            answer(self)
        return answer is not None

    def _do_capability(self) -> None:
        self.say(f"* CAPABILITY {self.server.offers}")

    def _do_starttls(self) -> None:
        pass

    def _do_login(self, username: str, password: str) -> str | None:
        is_valid = {"username": username, "password": password} == CREDENTIALS
        return None if is_valid else f"NO [AUTHENTICATIONFAILED] {username} {password}"

    def _do_select(self, folder: str) -> str | None:
        if folder not in self.server.folders:
            return "NO [NONEXISTENT] no such folder"
        self._mails = self.server.folders[folder]
        self.say(f"* {len(self._mails)} EXISTS")
        return None

    def _do_search(self, *criteria: str) -> None:
        assert criteria == ("UNSEEN", "UNDELETED")
        found = [
            str(uid)
            for uid, mail in self._mails.items()
            if not mail.flags & {"\\Seen", "\\Deleted"}
        ]
        self.say(" ".join(["* SEARCH", *found]))

    def _do_fetch(self, uid: str, items: str) -> None:
        [limit] = re.findall(r"^\(RFC822\.SIZE BODY\.PEEK\[\]<0\.(\d+)>\)$", items)
        mail = self._mails.get(int(uid))
        self.say("* 1 FETCH (FLAGS (\\Recent))")  # unsolicited, as is always allowed
        if mail is None:
            return
        part = mail.content[: int(limit)]
        head = f"* 1 FETCH (UID {uid} RFC822.SIZE {len(mail.content)} BODY[]<0> {{{len(part)}}}"
        self.say(head)
        self.say(part + b")")

    def _do_store(self, uid: str, what: str, flags: str) -> None:
        assert what == "+FLAGS.SILENT"
        self._mails[int(uid)].flags |= set(flags.strip("()").split())

    def _do_move(self, uid: str, folder: str) -> str | None:
        if folder not in self.server.folders:
            return "NO [TRYCREATE] no such folder"
        self.server.folders[folder][int(uid)] = self._mails.pop(int(uid))
        self.say(f"* OK [COPYUID 1 {uid} {uid}] moved")
        return None

    def _do_expunge(self, uid: str) -> None:
        if "\\Deleted" in self._mails[int(uid)].flags:
            del self._mails[int(uid)]
            self.say("* 1 EXPUNGE")

    def _do_logout(self) -> None:
        self.say("* BYE")
