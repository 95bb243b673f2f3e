"""Resident memory of each process, and CPU time of starting one."""

import asyncio
import resource
import statistics
import subprocess
import sys
from pathlib import Path

from bench.client import submit_paced
from bench.figures import Figure
from bench.stack import running_stack, wait_until_all_sent

MESSAGES = 200
EACH_SECOND = 20
CONNECTIONS = 8
RUNS = 5
MAX_MB = 125.0
STARTS = {
    "postroom --help": ("from app.cli import main; main(['--help'])", 0.5),
    "import tasks": ("import tasks", 0.8),
    "import app.api.wsgi": ("import app.api.wsgi", None),
}


def measure() -> list[Figure]:
    with running_stack() as stack:
        stack.run("worker", "app.local.processes", "worker")
        stack.run("beat", "app.local.processes", "beat")
        token = stack.run_web()
        asyncio.run(submit_paced(token, range(MESSAGES), EACH_SECOND, CONNECTIONS))
        wait_until_all_sent()
        starts = [
            Figure(
                measure=f"CPU time of `{name}`", value=_cpu_seconds(code), unit="s", at_most=at_most
            )
            for name, (code, at_most) in STARTS.items()
        ]
        memory = [
            Figure(
                measure=f"resident memory, {name}", value=_megabytes(pid), unit="MB", at_most=MAX_MB
            )
            for name, pid in (
                ("worker", stack.pids["worker"]),
                ("beat", stack.pids["beat"]),
                ("web, one worker of gunicorn", _children(stack.pids["web"])[0]),
            )
        ]
    return memory + starts


def _megabytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) / 1024


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _cpu_seconds(code: str) -> float:
    """Return the median CPU time of running Python code in a new process."""
    return statistics.median(_run(code) for _ in range(RUNS))


def _run(code: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
