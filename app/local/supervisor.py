"""Run processes under supervisord, which restarts those that exit, and report what happens.

A process that exits within `SETTLED_SECONDS` is restarted after one second, then two, and so on
without end; one that exits later is restarted at once. Each process logs to its own file in `log`,
which is rotated.

Events are read from supervisord's log and not from its event listeners, which learn neither the
process id of a start nor the exit status, and are stopped before the last group of processes.
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
STOP_SECONDS = 210  # longer than the longest download and send, which a worker finishes first
MAX_FAILURES = 3

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
# A line of supervisord's log on a process: "<date> <time>,<ms> <level> <event>: <name> <more>".
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
    """Run processes until SIGINT, SIGTERM or SIGHUP, then stop them, the last group first.

    If a process exits three times in a row before all are ready, the others are stopped too.

    Args:
        groups: The processes of a group are started and stopped together.
        var: Folder for the configuration and the logs.
        wait_until_ready: Returns once all processes are ready.
        when_ready: Called after that.

    Returns:
        The exit code: 0 after a signal, else 1.
    """
    log = var / "log"
    log.mkdir(exist_ok=True)
    configuration = var / "supervisord.conf"
    write_private(configuration, _configuration(groups, var.absolute()))
    daemon = subprocess.Popen(  # noqa: S603 - our own command
        _tethered(sys.executable, "-m", "supervisor.supervisord", "-c", str(configuration)),
        env=_environment(groups),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C must reach only this process, which stops the others
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
        report = describe(line, failures)
        if report:
            click.echo(report)
        worst = failures.most_common(1)
        if worst and worst[0][1] >= MAX_FAILURES and not ready.is_set():
            _report_failure(worst[0][0], log)
            daemon.terminate()
            ready.set()
    daemon.wait()
    return 0 if stopping.is_set() else 1


def describe(line: str, failures: Counter[str]) -> str | None:
    """Return a line of supervisord's log as a report for the operator, or None.

    `failures` counts how many times in a row each process has exited before it settled.
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
            return f"{time} {name} exited ({how}) and is restarted; see its log"
        case "killing":
            return f"{time} {name} did not stop in time and is killed"
        case _:
            return f"{time} {name} stopped {more}"


def _report_failure(name: str, log: Path) -> None:
    """Report why startup failed."""
    path = log / f"{name}.log"
    last_lines = path.read_text(errors="replace").splitlines()[-20:]
    click.echo(f"\n{name} keeps exiting. The end of {path}:\n", err=True)
    click.echo("\n".join(last_lines), err=True)


def _configuration(groups: Sequence[Sequence[Process]], var: Path) -> str:
    # The processes of a group stop together; the next group is stopped when all have exited.
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
    """Return the environment of all processes: inherited, so that no secret is in a file."""
    environment = dict(os.environ)
    for group in groups:
        for process in group:
            environment |= process.environment
    return environment


def _tethered(*command: str) -> list[str]:
    return [sys.executable, "-m", "app.local.launch", "--tethered", *command]
