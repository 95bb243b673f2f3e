"""Processes under supervision: told of, started again, ended together."""

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
from app.supervision import supervise
serving = threading.Event()
if sys.argv[3] == "ready":
    serving.set()
sys.exit(supervise(
    [[Process("shell", ("/bin/sh", "-c", sys.argv[2]))]],
    Path(sys.argv[1]),
    wait_until_ready=serving.wait,
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
    raise AssertionError(f"it ended without saying {pattern}")


@pytest.mark.parametrize(
    ("line", "news"),
    [
        ("INFO spawned: 'web' with pid 12", "03:00:01 web started (pid 12)"),
        (
            "WARN exited: web (terminated by SIGKILL; not expected)",
            "03:00:01 web died (terminated by SIGKILL) and is started again; see its log",
        ),
        ("WARN exited: web (exit status 0; expected)",
         "03:00:01 web died (exit status 0) and is started again; see its log"),
        ("WARN stopped: web (exit status 0)", "03:00:01 web stopped (exit status 0)"),
        ("WARN killing 'web' (12) with SIGKILL", "03:00:01 web does not stop and is killed"),
        ("INFO success: web entered RUNNING state, process has stayed up", None),
        ("CRIT Supervisor is running as root.", None),
    ],
)  # fmt: skip
def test_an_operator_is_told_what_concerns_him(line: str, news: str | None) -> None:
    assert describe(f"2026-11-22 03:00:01,123 {line}\n", Counter()) == news


def test_failures_count_until_the_process_has_settled() -> None:
    failures: Counter[str] = Counter()
    for event in ("exited: web (x)", "exited: web (x)", "exited: beat (x)"):
        describe(f"2026-11-22 03:00:01,123 INFO {event}", failures)
    assert failures == {"web": 2, "beat": 1}
    describe("2026-11-22 03:00:01,123 INFO success: web entered RUNNING state", failures)
    assert failures == {"web": 0, "beat": 1}


def test_what_dies_is_started_again(tmp_path: Path) -> None:
    with supervise(tmp_path, "exec sleep 60") as running:
        first = int(read_until(running, r"shell started \(pid (\d+)\)")[1])
        subprocess.run(["kill", "-KILL", str(first)], check=True)
        read_until(running, r"shell died \(terminated by SIGKILL\)")
        assert int(read_until(running, r"shell started \(pid (\d+)\)")[1]) != first
        running.terminate()
        assert running.wait() == 0


def test_a_start_that_comes_to_nothing_says_why_and_ends(tmp_path: Path) -> None:
    running = supervise(tmp_path, "echo out of paper; exit 3", when="never ready")
    output, errors = running.communicate()
    assert running.returncode == 1
    assert output.count("shell died (exit status 3)") == 3
    assert "ready" not in output
    assert "shell keeps dying" in errors
    assert "out of paper" in errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_lets_each_process_finish(tmp_path: Path, number: signal.Signals) -> None:
    begun = tmp_path / "begun"
    os.mkfifo(begun)
    script = "trap 'echo finished; exit 0' TERM; echo > begun; while :; do sleep 0.1; done"
    with supervise(tmp_path, f"cd {tmp_path}; {script}") as running:
        begun.read_text()
        running.send_signal(number)
        read_until(running, r"shell stopped \(exit status 0\)")
        assert running.wait() == 0
    assert (tmp_path / "log" / "shell.log").read_text() == "finished\n"
