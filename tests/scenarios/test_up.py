"""`postroom up` for real: every process, every server, on ports and a folder of its own."""

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
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.servers import free_port

ROOT = Path(__file__).parent.parent.parent
POSTROOM = Path(sys.executable).parent / "postroom"
PORTS = ("PORT", "FLOWER_PORT", "SANDBOX_HTTP_PORT", "SANDBOX_SMTP_PORT", "POSTGRES_PORT",
         "VALKEY_PORT")  # fmt: skip
PROCESSES = {"postgres", "valkey", "sandbox", "web", "worker", "beat", "flower"}


class Up:
    """A running `postroom up` and what it has said so far."""

    def __init__(self, variables: dict[str, str]) -> None:
        self.variables = variables
        self.said = ""
        self.process = subprocess.Popen(
            [POSTROOM, "up"], cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True
        )

    def read_until(self, pattern: str) -> str:
        """The first group of `pattern` in the next line that holds it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if found := re.search(pattern, line):
                return found[found.re.groups]
        raise AssertionError(f"it ended without saying {pattern}:\n{self.said}")

    def pid_of(self, name: str) -> int:
        """The number that was last told for this process."""
        return int(re.findall(rf"{name} started \(pid (\d+)\)", self.said)[-1])

    def descendants(self) -> list[int]:
        """Every process that it has started, and that those have started."""
        found, unseen = [], [self.process.pid]
        while unseen:
            pid = unseen.pop()
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            unseen += map(int, children)
            found += map(int, children)
        return found

    def get(self, path: str, port: str = "PORT", **fields: Any) -> Any:
        """The answer to a GET, or with fields to a POST of them."""
        token = (Path(self.variables["POSTROOM_VAR"]) / "token").read_text().strip()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.variables[f'POSTROOM_{port}']}{path}",
            data=json.dumps(fields).encode() if fields else None,
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


def wait_until_gone(pids: list[int], seconds: float = 60) -> None:
    """Wait for the end of processes that need not be our children."""
    deadline = time.monotonic() + seconds
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        with os.fdopen(handle):
            gone, _, _ = select.select([handle], [], [], deadline - time.monotonic())
            assert gone, Path(f"/proc/{pid}/cmdline").read_text()


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("POSTROOM_") and name not in {"DATABASE_URL", "REDIS_URL"}
    }
    ports = {f"POSTROOM_{name}": str(free_port()) for name in PORTS}
    return {
        **kept,
        **ports,
        "POSTROOM_VAR": str(tmp_path / "var"),
        "POSTROOM_AGENTS_FILE": str(ROOT / "agents.toml"),
        "POSTROOM_WEB_WORKERS": "1",
        "PYTHONUNBUFFERED": "1",
    }


@pytest.fixture
def up(variables: dict[str, str]) -> Iterator[Up]:
    """Up and serving, with an empty database."""
    with started(variables) as running:
        yield running


@contextmanager
def started(variables: dict[str, str]) -> Iterator[Up]:
    running = Up(variables)
    try:
        running.read_until("Postroom is up")
        yield running
    finally:
        running.process.terminate()
        running.process.wait()
        assert running.process.stdout is not None
        running.process.stdout.close()


def refusal(variables: dict[str, str]) -> str:
    """What it says where it does not start."""
    done = subprocess.run(
        [POSTROOM, "up"], cwd=ROOT, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    return done.stderr


@pytest.mark.timeout(300)
def test_a_message_goes_its_way_and_a_second_start_finds_it_again(
    up: Up, variables: dict[str, str], tmp_path: Path
) -> None:
    token = tmp_path / "var" / "token"
    assert token.stat().st_mode & 0o777 == 0o600
    assert token.read_text().strip() in up.said
    assert set(re.findall(r"(\w+) started", up.said)) == PROCESSES

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

    with started(variables) as again:
        assert "postroom_" not in again.said, "a token is shown once"
        assert "+18045551234" in json.dumps(again.get("/api/messages"))


def hold_a_conversation(up: Up) -> None:
    """As the words of the start suggest it: a message, its receipt, and an answer."""
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
def test_what_is_killed_is_started_again(up: Up) -> None:
    for name in ("worker", "web", "postgres", "valkey"):
        pid = up.pid_of(name)
        os.kill(pid, signal.SIGKILL)
        up.read_until(rf"{name} died \(terminated by SIGKILL\)")
        up.read_until(rf"{name} started")
        assert up.pid_of(name) != pid


@pytest.mark.timeout(300)
@pytest.mark.parametrize("killed", ["up", "supervisor"])
def test_nothing_outlives_it_when_it_is_killed(up: Up, killed: str) -> None:
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


@pytest.mark.parametrize(
    ("variable", "name"),
    [
        ("POSTROOM_PORT", "web"),
        ("POSTROOM_FLOWER_PORT", "flower"),
        ("POSTROOM_SANDBOX_SMTP_PORT", "sandbox"),
        ("POSTROOM_POSTGRES_PORT", "postgres"),
        ("POSTROOM_VALKEY_PORT", "valkey"),
    ],
)
def test_a_taken_port_is_named_before_anything_starts(
    variables: dict[str, str], variable: str, name: str, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", int(variables[variable]))):
        said = refusal(variables)
    assert f"{name} cannot listen on 127.0.0.1:{variables[variable]}" in said
    assert variable in said
    assert not (tmp_path / "var" / "postgres").exists()


def test_two_of_its_own_on_one_port_are_named(variables: dict[str, str]) -> None:
    said = refusal(variables | {"POSTROOM_FLOWER_PORT": variables["POSTROOM_PORT"]})
    assert "flower cannot listen on" in said


def test_a_second_one_on_the_same_folder_is_refused(
    variables: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "var").mkdir()
    with (tmp_path / "var" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert f"another `postroom up` runs on {tmp_path / 'var'}" in refusal(variables)


def test_agents_that_make_no_sense_are_refused(variables: dict[str, str], tmp_path: Path) -> None:
    agents = tmp_path / "agents.toml"
    agents.write_text('[agents.gateway]\nconnector = "pigeon"\n')
    assert "pigeon" in refusal(variables | {"POSTROOM_AGENTS_FILE": str(agents)})


def test_a_database_of_ones_own_that_does_not_answer_is_refused(
    variables: dict[str, str], tmp_path: Path
) -> None:
    url = f"postgresql://me:secret@127.0.0.1:{free_port()}/postroom"
    said = refusal(variables | {"DATABASE_URL": url})
    assert "the database cannot be brought up to date" in said
    assert "secret" not in said
    assert not (tmp_path / "var" / "postgres").exists()
