"""`postroom up` with all its processes and servers, on its own ports and folder."""

import fcntl
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.servers import free_port

ROOT = Path(__file__).parents[3]
POSTROOM = Path(sys.executable).parent / "postroom"
PORTS = ("PORT", "FLOWER_PORT", "SANDBOX_HTTP_PORT", "SANDBOX_SMTP_PORT", "POSTGRES_PORT",
         "VALKEY_PORT")  # fmt: skip
PROCESSES = {"postgres", "valkey", "sandbox", "web", "worker", "beat", "flower"}


class Up:
    """A running `postroom up` and its output so far."""

    def __init__(self, variables: dict[str, str]) -> None:
        self.variables = variables
        self.output = ""
        self.process = subprocess.Popen(
            [POSTROOM, "up"], cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True
        )

    def read_until(self, pattern: str) -> str:
        """Return the last group of `pattern` in the next line that matches."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line
            if found := re.search(pattern, line):
                return found[found.re.groups]
        raise AssertionError(f"it exited before printing {pattern}:\n{self.output}")

    def pid_of(self, name: str) -> int:
        """Return the process id that was last reported for a process."""
        return int(re.findall(rf"{name} started \(pid (\d+)\)", self.output)[-1])

    def descendants(self) -> list[int]:
        """Return all processes that it has started, directly or not."""
        found, unseen = [], [self.process.pid]
        while unseen:
            pid = unseen.pop()
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            unseen += map(int, children)
            found += map(int, children)
        return found

    def get(self, path: str, port: str = "PORT", **fields: Any) -> Any:
        """Return the response to a GET, or with fields to a POST."""
        token = (Path(self.variables["POSTROOM_VAR"]) / "token").read_text().strip()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.variables[f'POSTROOM_{port}']}{path}",
            data=json.dumps(fields).encode() if fields else None,
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


def wait_until_gone(pids: list[int], seconds: float = 60) -> None:
    """Wait until processes have exited, which need not be children of this one."""
    deadline = time.monotonic() + seconds
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        with os.fdopen(handle):
            gone, _, _ = select.select([handle], [], [], deadline - time.monotonic())
            assert gone, Path(f"/proc/{pid}/cmdline").read_text()


def make_variables(var: Path) -> dict[str, str]:
    """Return an environment with the folder `var` and free ports."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("POSTROOM_") and name not in {"DATABASE_URL", "REDIS_URL"}
    }
    ports = {f"POSTROOM_{name}": str(free_port()) for name in PORTS}
    return {
        **inherited,
        **ports,
        "POSTROOM_VAR": str(var),
        "POSTROOM_AGENTS_FILE": str(ROOT / "agents.toml"),
        "POSTROOM_WEB_WORKERS": "1",
        "PYTHONUNBUFFERED": "1",
    }


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    """The environment of a start that fails."""
    return make_variables(tmp_path / "var")


class Starter:
    """Starts `postroom up`, always in the same folder, unless it is running."""

    def __init__(self, var: Path) -> None:
        self.variables = make_variables(var)
        self.running: Up | None = None

    def start(self) -> Up:
        if self.running is None or self.running.process.poll() is not None:
            self.close()
            self.running = Up(self.variables)
            self.running.read_until("Postroom is up")
        return self.running

    def close(self) -> None:
        if self.running is not None:
            self.running.process.terminate()
            self.running.process.wait()
            assert self.running.process.stdout is not None
            self.running.process.stdout.close()
            self.running = None


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    starter = Starter(tmp_path_factory.mktemp("up") / "var")
    yield starter
    starter.close()


@pytest.fixture
def up(starter: Starter) -> Up:
    """A `postroom up` that is ready. Tests may leave it running or end it."""
    return starter.start()


def start_error(variables: dict[str, str]) -> str:
    """Return the error of a `postroom up` that does not start."""
    done = subprocess.run(
        [POSTROOM, "up"], cwd=ROOT, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    return done.stderr


@pytest.mark.timeout(300)
def test_messages_are_sent_and_survive_a_restart(up: Up, starter: Starter) -> None:
    token = Path(up.variables["POSTROOM_VAR"]) / "token"
    assert token.stat().st_mode & 0o777 == 0o600
    assert token.read_text().strip() in up.output
    assert set(re.findall(r"(\w+) started", up.output)) == PROCESSES

    up.get("/api/messages/sms", **{"from": "+12016661234", "to": "+18045551234"},
           type="sms", body="Hello")  # fmt: skip
    while not up.get("/received", port="SANDBOX_HTTP_PORT"):
        time.sleep(0.1)

    hold_a_conversation(up)

    pids = up.descendants()
    up.process.send_signal(signal.SIGTERM)
    up.read_until("postgres stopped")
    assert up.process.wait() == 0
    wait_until_gone(pids, seconds=0)

    restarted = starter.start()
    assert "postroom_" not in restarted.output, "the token is printed once"
    assert "+18045551234" in json.dumps(restarted.get("/api/messages"))


def hold_a_conversation(up: Up) -> None:
    """Send a message and receive a receipt and a reply, as the output suggests."""
    sent = up.get("/api/messages/sms", agent="twilio", to="+18045551234", type="sms", body="Hi")
    while up.get(f"/api/messages/{sent['id']}")["status"] != "delivered":
        time.sleep(0.1)
    web = f"http://127.0.0.1:{up.variables['POSTROOM_PORT']}"
    answer = {"From": "+18045551234", "To": "+15005550006", "Body": "Hi!"}
    up.get("/twilio/_inbound", port="SANDBOX_HTTP_PORT",
           url=f"{web}/api/webhooks/twilio/inbound", **answer)  # fmt: skip
    while not (answers := up.get("/api/messages?direction=inbound")["messages"]):
        time.sleep(0.1)
    assert answers[0]["conversation_id"] == sent["conversation_id"]


@pytest.mark.timeout(300)
def test_killed_processes_are_restarted(up: Up) -> None:
    for name in ("worker", "web", "postgres", "valkey"):
        pid = up.pid_of(name)
        os.kill(pid, signal.SIGKILL)
        up.read_until(rf"{name} exited \(terminated by SIGKILL\)")
        up.read_until(rf"{name} started")
        assert up.pid_of(name) != pid


@pytest.mark.timeout(300)
@pytest.mark.parametrize("killed", ["up", "supervisor"])
def test_nothing_is_left_running_after_it_is_killed(up: Up, killed: str) -> None:
    pids = up.descendants()
    [supervisor] = (
        int(child)
        for child in Path(f"/proc/{up.process.pid}/task/{up.process.pid}/children")
        .read_text()
        .split()
    )
    os.kill(up.process.pid if killed == "up" else supervisor, signal.SIGKILL)
    assert up.process.wait() != 0
    wait_until_gone(pids)


def test_used_ports_are_named_before_anything_starts(
    variables: dict[str, str], tmp_path: Path
) -> None:
    variables["POSTROOM_FLOWER_PORT"] = variables["POSTROOM_SANDBOX_HTTP_PORT"]
    used = {"web": "PORT", "sandbox": "SANDBOX_SMTP_PORT", "postgres": "POSTGRES_PORT",
            "valkey": "VALKEY_PORT"}  # fmt: skip
    with ExitStack() as held:
        for name in used.values():
            number = int(variables[f"POSTROOM_{name}"])
            held.enter_context(socket.create_server(("127.0.0.1", number)))
        errors = start_error(variables).splitlines()
    used["sandbox (its port is that of Flower)"] = "SANDBOX_HTTP_PORT"
    assert len(errors) == len(used)
    for process, name in used.items():
        address = f"127.0.0.1:{variables[f'POSTROOM_{name}']}"
        [line] = [line for line in errors if address in line]
        assert line.startswith(f"postroom: {process.partition(' ')[0]}: cannot listen on {address}")
        assert line.endswith(f"Set POSTROOM_{name} to another port.")
    assert not (tmp_path / "var" / "postgres").exists()


def test_second_start_in_the_same_folder_is_rejected(
    variables: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "var").mkdir()
    with (tmp_path / "var" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert f"another `postroom up` is running in {tmp_path / 'var'}" in start_error(variables)


def test_invalid_agents_are_rejected(variables: dict[str, str], tmp_path: Path) -> None:
    agents = tmp_path / "agents.toml"
    agents.write_text('[agents.gateway]\nconnector = "pigeon"\n')
    assert "pigeon" in start_error(variables | {"POSTROOM_AGENTS_FILE": str(agents)})


def test_unreachable_external_database_is_reported(
    variables: dict[str, str], tmp_path: Path
) -> None:
    url = f"postgresql://me:secret@127.0.0.1:{free_port()}/postroom"
    error = start_error(variables | {"DATABASE_URL": url})
    assert "database: cannot be migrated" in error
    assert "secret" not in error
    assert not (tmp_path / "var" / "postgres").exists()
