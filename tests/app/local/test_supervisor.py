"""Processes under supervision are reported, restarted and stopped together."""

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from app.local.supervisor import describe

RUN = """
import sys, threading
from pathlib import Path
from app.local.processes import Process
from app.local.supervisor import supervise
ready = threading.Event()
if sys.argv[3] == "ready":
    ready.set()
sys.exit(supervise(
    [[Process("shell", ("/bin/sh", "-c", sys.argv[2]))]],
    Path(sys.argv[1]),
    wait_until_ready=ready.wait,
    when_ready=lambda: print("ready", flush=True),
))
"""


def supervise(folder: Path, script: str, when: str = "ready") -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", RUN, folder, script, when],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read_until(running: "subprocess.Popen[str]", pattern: str) -> "re.Match[str]":
    assert running.stdout is not None
    for line in running.stdout:
        if found := re.search(pattern, line):
            return found
    raise AssertionError(f"it exited before printing {pattern}")


def test_events_of_processes_are_reported() -> None:
    failures = []
    for line, report in (
        ("INFO spawned: 'web' with pid 12", "03:00:01 web started (pid 12)"),
        (
            "WARN exited: web (terminated by SIGKILL; not expected)",
            "03:00:01 web exited (terminated by SIGKILL) and is restarted; see its log",
        ),
        (
            "WARN exited: web (exit status 0; expected)",
            "03:00:01 web exited (exit status 0) and is restarted; see its log",
        ),
        ("WARN stopped: web (exit status 0)", "03:00:01 web stopped (exit status 0)"),
        (
            "WARN killing 'web' (12) with SIGKILL",
            "03:00:01 web did not stop in time and is killed",
        ),
        ("INFO success: web entered RUNNING state, process has stayed up", None),
        ("CRIT Supervisor is running as root.", None),
    ):
        described = describe(f"2026-11-22 03:00:01,123 {line}\n", Counter())
        if described != report:
            failures.append((line, described))
    assert not failures


def test_failures_are_counted_until_the_process_has_settled() -> None:
    failures: Counter[str] = Counter()
    for event in ("exited: web (x)", "exited: web (x)", "exited: beat (x)"):
        describe(f"2026-11-22 03:00:01,123 INFO {event}", failures)
    assert failures == {"web": 2, "beat": 1}
    describe("2026-11-22 03:00:01,123 INFO success: web entered RUNNING state", failures)
    assert failures == {"web": 0, "beat": 1}


def test_killed_process_is_restarted(tmp_path: Path) -> None:
    with supervise(tmp_path, "exec sleep 60") as running:
        first = int(read_until(running, r"shell started \(pid (\d+)\)")[1])
        os.kill(first, signal.SIGKILL)
        read_until(running, r"shell exited \(terminated by SIGKILL\)")
        assert int(read_until(running, r"shell started \(pid (\d+)\)")[1]) != first
        running.terminate()
        assert running.wait() == 0


def test_failed_start_is_explained_and_ends(tmp_path: Path) -> None:
    running = supervise(tmp_path, "echo out of paper; exit 3", when="never ready")
    output, errors = running.communicate()
    assert running.returncode == 1
    assert output.count("shell exited (exit status 3)") == 3
    assert "ready" not in output
    assert "shell keeps exiting" in errors
    assert "out of paper" in errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_processes_finish_on_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    started = tmp_path / "started"
    os.mkfifo(started)
    script = "trap 'echo finished; exit 0' TERM; echo > started; while :; do sleep 0.1; done"
    with supervise(tmp_path, f"cd {tmp_path}; {script}") as running:
        started.read_text()
        running.send_signal(number)
        read_until(running, r"shell stopped \(exit status 0\)")
        assert running.wait() == 0
    assert (tmp_path / "log" / "shell.log").read_text() == "finished\n"
