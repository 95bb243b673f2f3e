"""Parse webhooks and e-mails in a child process, which is killed if one of them takes too long.

`python -m app.inbound.parser` is the child. It exchanges pickled objects with its parent over
standard input and output, each preceded by its length.
"""

import os
import pickle
import resource
import signal
import struct
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from threading import Timer
from typing import IO, Any, Self

from connectors.base import Inbound, MalformedWebhook, RawMail, Receipt, WebhookRequest

CPU_SECONDS = 10
WALL_SECONDS = 60
MEMORY_BYTES = 1024**3

_LENGTH = struct.Struct("!Q")

Items = Sequence[Receipt | Inbound]


class ParseError(Exception):
    """A webhook or an e-mail cannot be parsed. The text contains none of its content."""


class Parser:
    """A child process that parses one webhook or e-mail after another.

    It is started when it is first needed, and again after it was killed. Close it after use.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def parse(self, agent: str, profile: str, content: WebhookRequest | RawMail) -> Items:
        """Return the contents of a webhook or an e-mail.

        Raises:
            ParseError: It is malformed, or takes too much time or memory.
        """
        process = self._process or self._start()
        is_late = False

        def kill() -> None:
            nonlocal is_late
            is_late = True
            process.kill()

        timer = Timer(WALL_SECONDS, kill)
        timer.daemon = True
        timer.start()
        try:
            answer = _exchange(process, (agent, profile, content))
        except (OSError, EOFError):
            self._stop()
            raise ParseError(_reason(process.returncode, is_late=is_late)) from None
        finally:
            timer.cancel()
        if isinstance(answer, str):
            raise ParseError(answer)
        items: Items = answer
        return items

    def _start(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "app.inbound.parser"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the worker, which finishes its tasks
        )
        return self._process

    def _stop(self) -> None:
        if process := self._process:
            self._process = None
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    with suppress(OSError):
                        pipe.close()
            try:
                process.wait(timeout=1)  # it ends by itself, or has been killed for its time
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _exchange(process: subprocess.Popen[bytes], request: object) -> Any:
    if process.stdin is None or process.stdout is None:
        raise EOFError
    _write(process.stdin, request)
    return _read(process.stdout)


def _reason(returncode: int, *, is_late: bool) -> str:
    if is_late:
        return f"parsing takes more than {WALL_SECONDS} seconds"
    if returncode == -signal.SIGXCPU:
        return f"parsing takes more than {CPU_SECONDS} seconds of CPU time"
    return f"the parsing process ended with status {returncode}"


def _write(pipe: IO[bytes], value: object) -> None:
    data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    pipe.write(_LENGTH.pack(len(data)))
    pipe.write(data)
    pipe.flush()


def _read(pipe: IO[bytes]) -> Any:
    """Return the next object.

    Raises:
        EOFError: The other process has ended.
    """
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    [length] = _LENGTH.unpack(head)
    data = pipe.read(length)
    if len(data) < length:
        raise EOFError
    return pickle.loads(data)  # noqa: S301 - written by `_write`


def main() -> None:
    """Parse what arrives on standard input until it is closed."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing else may be written between the answers
    os.nice(10)  # sending and accepting messages come first
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(ValueError, OSError):  # not every system can limit memory
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    while True:
        try:
            agent, profile, content = _read(sys.stdin.buffer)
        except EOFError:
            return
        _limit_cpu()
        _write(answers, _parse(agent, profile, content))


def _limit_cpu() -> None:
    """Have the system kill this process after `CPU_SECONDS` more."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(usage.ru_utime + usage.ru_stime) + 1 + CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))


def _parse(agent: str, profile: str, content: WebhookRequest | RawMail) -> Items | str:
    """Return the items, or why there are none."""
    from app.agents import agents  # noqa: PLC0415 - the parent has imported it already

    try:
        connector = agents().connector(agent, profile)
        if isinstance(content, RawMail):
            return list(connector.parse_mail(content))
        return list(connector.parse(content))
    except MalformedWebhook as error:
        return str(error)
    except MemoryError:
        return f"parsing takes more than {MEMORY_BYTES // 1024**2} MiB of memory"
    except Exception as error:  # noqa: BLE001 - its text may quote the content
        return type(error).__name__


if __name__ == "__main__":
    main()
