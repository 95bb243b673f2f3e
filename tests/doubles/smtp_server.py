"""Two SMTP servers on loopback: a real one, and one that replies as a test specifies."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope


class MailServer:
    """An aiosmtpd server in a thread.

    `mails` holds the envelopes it accepted, `connections` counts its clients. `refuse` maps
    recipients to the reply that refuses them, `hide` names extensions that it does not announce.
    """

    def __init__(
        self, tls: ssl.SSLContext | None = None, *, implicit: bool = False, **options: Any
    ):
        self.reset()
        self._tls = tls
        self._implicit = implicit
        self._options = options
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def reset(self) -> None:
        """Remove all mails and settings of an earlier test."""
        self.mails: list[Envelope] = []
        self.connections = 0
        self.refuse: dict[str, str] = {}
        self.hide: set[str] = set()

    def start(self) -> None:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        return await self._loop.create_server(
            self._session, "127.0.0.1", 0, ssl=self._tls if self._implicit else None
        )

    async def _shut(self) -> None:
        self._server.close()
        await self._server.wait_closed()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _session(self) -> SMTP:
        self.connections += 1
        return SMTP(
            self,
            hostname="mx.example.net",
            loop=self._loop,
            tls_context=None if self._implicit else self._tls,
            **self._options,
        )

    async def handle_EHLO(self, server, session, envelope, hostname, responses):  # noqa: N802
        session.host_name = hostname
        return [line for line in responses if line[4:].split()[0] not in self.hide]

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        self.mails.append(envelope)
        return "250 2.0.0 Ok: queued as 4BxQ"


Action = Callable[["Dialogue"], None]


@dataclass
class Dialogue:
    """One connection to a `ScriptedServer`."""

    server: "ScriptedServer"
    sock: socket.socket

    def say(self, text: str) -> None:
        self.sock.sendall(text.encode() + b"\r\n")


def drop(dialogue: Dialogue) -> None:
    """Close the connection."""
    dialogue.sock.shutdown(socket.SHUT_RDWR)


def hang(dialogue: Dialogue) -> None:
    """Do not reply until the test is over."""
    dialogue.server.stopping.wait()


def drip(dialogue: Dialogue) -> None:
    """Send a reply without an end, one byte at a time."""
    dialogue.sock.sendall(b"250 ")
    while not dialogue.server.stopping.wait(0.02):
        dialogue.sock.sendall(b".")


def late(reply: str, seconds: float) -> Action:
    """Return an action that sends the reply after some time."""

    def action(dialogue: Dialogue) -> None:
        dialogue.server.stopping.wait(seconds)
        dialogue.say(reply)

    return action


@dataclass
class ScriptedServer:
    """An SMTP server that replies to each command as `script` says.

    Keys of `script` are whole commands or verbs; `banner` stands for the greeting, `.` for the end
    of the content. Values are replies or actions, or a list of them that is used up one by one,
    except for the last. `commands` holds the commands of all connections, `data` the raw mails.
    """

    script: dict[str, str | Action | list[str | Action]]
    extensions: tuple[str, ...] = ("8BITMIME", "SIZE 1000000")
    commands: list[str] = field(default_factory=list)
    data: list[bytes] = field(default_factory=list)
    connections: int = 0
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def verbs(self) -> list[str]:
        """The commands without their arguments, in upper case."""
        return [command.split(" ")[0].upper() for command in self.commands]

    def wait_until_disconnected(self) -> None:
        """Wait until every client so far has disconnected."""
        for thread in self._threads[1:]:
            thread.join()

    def start(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def stop(self) -> None:
        self.stopping.set()
        # Closing a socket does not wake a thread that waits in accept().
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        for sock in self._sockets:
            with suppress(OSError):  # the client disconnected first
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._sockets.append(sock)
            thread = threading.Thread(target=self._talk, args=(sock,))
            self._threads.append(thread)
            thread.start()

    def _talk(self, sock: socket.socket) -> None:
        dialogue = Dialogue(self, sock)
        with sock, sock.makefile("rb") as lines, suppress(OSError):
            self._answer(dialogue, "banner", "220 mx.example.net ESMTP")
            for line in lines:
                command = line.decode(errors="replace").rstrip("\r\n")
                self.commands.append(command)
                verb = command.split(" ")[0].upper()
                reply = self._answer(dialogue, command, self._default(verb), verb)
                if reply.startswith("354"):
                    self.data.append(_until_dot(lines))
                    self._answer(dialogue, ".", "250 2.0.0 Ok")

    def _default(self, verb: str) -> str:
        if verb == "EHLO":
            lines = ["mx.example.net", *self.extensions]
            return "\r\n".join([*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}"])
        return {"DATA": "354 Go ahead", "QUIT": "221 2.0.0 Bye"}.get(verb, "250 2.0.0 Ok")

    def _answer(self, dialogue: Dialogue, key: str, default: str, verb: str = "") -> str:
        key = key if key in self.script else verb
        answer = self.script.get(key, default)
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, str):
            dialogue.say(answer)
            return answer
        answer(dialogue)
        return ""


def _until_dot(lines: Any) -> bytes:
    data = b""
    for line in lines:
        if line == b".\r\n":
            return data
        data += line
    raise ConnectionError("the client disconnected within the content")
