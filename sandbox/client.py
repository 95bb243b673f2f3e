"""Run a sandbox from tests and benchmarks, control it, and read what it received.

with running_sandbox() as sandbox:
    sandbox.control("+12025550123", {"status": 503}, times=2)
    ...
    assert sandbox.count()["total"] == sandbox.count()["distinct"] == 200
"""

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

STOP_TIMEOUT_SECONDS = 5
REQUEST_TIMEOUT_SECONDS = 30
READY = re.compile(r"sandbox ready: (?P<http>http://\S+) smtp://(?P<host>\S+):(?P<port>\d+)\n")


def _session() -> requests.Session:
    session = requests.Session()
    # A proxy named in the environment must not be used for loopback addresses.
    session.trust_env = False
    return session


@dataclass
class RunningSandbox:
    """A running sandbox: its addresses and its control API. Not thread-safe."""

    process: subprocess.Popen[str]
    http_url: str
    smtp_host: str
    smtp_port: int
    session: requests.Session = field(default_factory=_session)

    @property
    def gateway_url(self) -> str:
        """Return the URL of the gateway provider."""
        return f"{self.http_url}/gateway"

    @property
    def api_url(self) -> str:
        """Return the base URL of the api provider."""
        return f"{self.http_url}/api"

    def received(self, **filters: str) -> list[dict[str, Any]]:
        """Return all records that match the filters `kind`, `to` and `outcome`, oldest first.

        Without `outcome`, only delivered messages; `*` stands for all outcomes.
        """
        records: list[dict[str, Any]] = []
        after = 0
        while page := self._call("GET", "/received", params={**filters, "after": after}):
            records += page
            after = page[-1]["seq"]
        return records

    def count(self) -> dict[str, Any]:
        """Return `total`, `distinct`, `by_kind` and `by_outcome` since the last clear."""
        counts: dict[str, Any] = self._call("GET", "/received/count")
        return counts

    def control(
        self, to: str, do: Mapping[str, Any], *, kind: str = "*", times: int | None = None
    ) -> None:
        """Treat messages to `to`, or to all (`*`), as `do` says (see sandbox/behaviour.py)."""
        rule = {"to": to, "kind": kind, "do": do, "times": times}
        self._call("PUT", "/control", json=rule)

    def clear(self) -> None:
        """Delete all received messages and all rules."""
        self._call("DELETE", "/received")
        self._call("DELETE", "/control")

    def stop(self) -> int:
        """Stop the process if it is still running, and return its exit code.

        Raises:
            subprocess.TimeoutExpired: It did not end in time.
        """
        self.session.close()
        self.process.terminate()
        return self.process.wait(STOP_TIMEOUT_SECONDS)

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        response = self.session.request(
            method, self.http_url + path, timeout=REQUEST_TIMEOUT_SECONDS, **arguments
        )
        if response.status_code != 200:
            raise RuntimeError(f"{method} {path}: {response.status_code} {response.text}")
        return response.json()


@contextmanager
def running_sandbox(
    *, magic_recipients: bool = False, module: str = "sandbox"
) -> Iterator[RunningSandbox]:
    """Run `python -m MODULE`, a sandbox, on free ports until the block ends.

    Magic recipients are off by default, because tests and benchmarks generate phone numbers and
    would hit them by chance.

    Raises:
        RuntimeError: The sandbox did not start; its output is on stderr.
    """
    command = [sys.executable, "-m", module, "--http-port", "0", "--smtp-port", "0"]
    if not magic_recipients:
        command.append("--no-magic-recipients")
    root = Path(__file__).parent.parent
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - a fixed command
        try:
            assert process.stdout is not None  # noqa: S101 - only narrows the type
            ready = READY.fullmatch(process.stdout.readline())
            if ready is None:
                raise RuntimeError(f"the sandbox did not start: exit code {process.wait()}")
            sandbox = RunningSandbox(process, ready["http"], ready["host"], int(ready["port"]))
            yield sandbox
            sandbox.stop()
        finally:
            process.kill()
