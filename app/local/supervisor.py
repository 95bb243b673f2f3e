"""Runs processes under supervisord, which starts again whatever dies, and tells of it.

A process that dies within `SETTLED_SECONDS` is tried again after one second, then two, and so
on without end; one that dies later is started again at once. Each writes to its own file in
`log`, kept from growing for ever.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

import click

from app.local.processes import Process
from app.local.servers import write_private

SETTLED_SECONDS = 10
STOP_SECONDS = 210  # longer than the longest fetch and send, which a worker finishes first
FAILURES_TO_GIVE_UP = 3

_DAEMON = """\
[supervisord]
nodaemon=true
nocleanup=true
pidfile={var}/supervisord.pid
logfile={var}/log/supervisord.log
logfile_maxbytes=10MB
logfile_backups=5
"""
_GROUP = """
[group:group{priority}]
programs={programs}
priority={priority}
"""
_PROGRAM = f"""
[program:{{name}}]
command={{command}}
stopsignal={{stop_signal}}
stopwaitsecs={STOP_SECONDS}
killasgroup=true
autorestart=true
startsecs={SETTLED_SECONDS}
startretries=1000000000
redirect_stderr=true
stdout_logfile={{var}}/log/{{name}}.log
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=5
"""
# What supervisord logs of a program: "<date> <time>,<ms> <level> <event>: <name> <more>".
_EVENT = re.compile(
    r"\S+ (?P<time>[\d:]+)\S* \w+ (?P<event>spawned: |exited: |success: |stopped: |killing )"
    r"'?(?P<name>\w+)'? (?P<more>.*)"
)


def supervise(
    groups: Sequence[Sequence[Process]],
    var: Path,
    *,
    wait_until_ready: Callable[[], None],
    when_ready: Callable[[], None],
) -> int:
    """Run all processes until SIGINT, SIGTERM or SIGHUP, then end them, the last group first.

    `wait_until_ready` runs beside them and returns once they serve; `when_ready` then says so.
    A process that keeps dying before that ends it all. Returns 0 where a signal ended it, else 1.
    """
    log = var / "log"
    log.mkdir(exist_ok=True)
    configuration = var / "supervisord.conf"
    write_private(configuration, _configuration(groups, var.absolute()))
    daemon = subprocess.Popen(  # noqa: S603 - words of our own
        _tethered(sys.executable, "-m", "supervisor.supervisord", "-c", str(configuration)),
        env=_environment(groups),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that a Ctrl-C reaches us alone, and we end the rest in order
    )
    stopping = threading.Event()
    ready = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()
        daemon.terminate()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)

    def announce() -> None:
        wait_until_ready()
        ready.set()
        when_ready()

    threading.Thread(target=announce, daemon=True).start()

    failures: Counter[str] = Counter()
    for line in daemon.stdout or ():
        news = describe(line, failures)
        if news:
            click.echo(news)
        worst = failures.most_common(1)
        if worst and worst[0][1] >= FAILURES_TO_GIVE_UP and not ready.is_set():
            _give_up(worst[0][0], log)
            daemon.terminate()
            ready.set()
    daemon.wait()
    return 0 if stopping.is_set() else 1


def describe(line: str, failures: Counter[str]) -> str | None:
    """What a line of supervisord's log means to an operator; None if nothing.

    Counts in `failures` how often in a row each process died before it had settled.
    """
    found = _EVENT.match(line)
    if found is None:
        return None
    time, event, name, more = found.group("time", "event", "name", "more")
    match event.strip(" :"):
        case "success":
            failures[name] = 0
            return None
        case "spawned":
            return f"{time} {name} started ({more.removeprefix('with ')})"
        case "exited":
            failures[name] += 1
            how = more.removeprefix("(").split(";")[0]
            return f"{time} {name} died ({how}) and is started again; see its log"
        case "killing":
            return f"{time} {name} does not stop and is killed"
        case _:
            return f"{time} {name} stopped {more}"


def _give_up(name: str, log: Path) -> None:
    """Say why nothing comes of this start."""
    path = log / f"{name}.log"
    last_lines = path.read_text(errors="replace").splitlines()[-20:]
    click.echo(f"\n{name} keeps dying; the end of {path}:\n", err=True)
    click.echo("\n".join(last_lines), err=True)


def _configuration(groups: Sequence[Sequence[Process]], var: Path) -> str:
    # A group is stopped at once, and the next one only when it has gone.
    parts = [_DAEMON.format(var=_escaped(var))]
    for priority, group in enumerate(groups, start=1):
        names = ",".join(process.name for process in group)
        parts.append(_GROUP.format(priority=priority, programs=names))
        parts += [
            _PROGRAM.format(
                name=process.name,
                command=_escaped(shlex.join(_tethered(*process.command))),
                stop_signal=process.stop_signal,
                var=_escaped(var),
            )
            for process in group
        ]
    return "".join(parts)


def _escaped(value: Path | str) -> str:
    return str(value).replace("%", "%%")


def _environment(groups: Sequence[Sequence[Process]]) -> dict[str, str]:
    """Ours and what each process asks for: inherited, so that no secret is in a file."""
    environment = dict(os.environ)
    for group in groups:
        for process in group:
            environment |= process.environment
    return environment


def _tethered(*command: str) -> list[str]:
    return [sys.executable, "-m", "app.local.launch", "--tethered", *command]
