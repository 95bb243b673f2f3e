"""A sandbox of one's own, for tests and benches:

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

STOP_SECONDS = 5
CALL_SECONDS = 30
READY = re.compile(r"sandbox ready: (?P<http>http://\S+) smtp://(?P<host>\S+):(?P<port>\d+)\n")


def _session() -> requests.Session:
    session = requests.Session()
    # Loopback is never to be asked of a proxy that the environment may name.
    session.trust_env = False
    return session


@dataclass
class RunningSandbox:
    """A running `python -m sandbox`: its addresses, and its calls. Not for sharing by threads."""

    process: subprocess.Popen[str]
    http_url: str
    smtp_host: str
    smtp_port: int
    session: requests.Session = field(default_factory=_session)

    @property
    def gateway_url(self) -> str:
        """Where the gateway takes messages."""
        return f"{self.http_url}/gateway"

    @property
    def api_url(self) -> str:
        """The base of the generic HTTP API."""
        return f"{self.http_url}/api"

    def received(self, **filters: str) -> list[dict[str, Any]]:
        """Everything received that passes the filters (kind, to, outcome), oldest first. Without
        an outcome: what was accepted or dropped after accepting; `*` is every outcome."""
        records: list[dict[str, Any]] = []
        after = 0
        while page := self._call("GET", "/received", params={**filters, "after": after}):
            records += page
            after = page[-1]["seq"]
        return records

    def count(self) -> dict[str, Any]:
        """{"total", "distinct", "by_kind", "by_outcome"} since the last clear."""
        counts: dict[str, Any] = self._call("GET", "/received/count")
        return counts

    def control(
        self, to: str, do: Mapping[str, Any], *, kind: str = "*", times: int | None = None
    ) -> None:
        """Has the sandbox `do` that (see sandbox/behaviour.py) for `to`, or for all (`*`)."""
        rule = {"to": to, "kind": kind, "do": do, "times": times}
        self._call("PUT", "/control", json=rule)

    def clear(self) -> None:
        """Forgets all that was received and all rules."""
        self._call("DELETE", "/received")
        self._call("DELETE", "/control")

    def stop(self) -> int:
        """Stops the process, if it still runs, and returns its exit code. Raises
        subprocess.TimeoutExpired if it hasn't ended in time."""
        self.session.close()
        self.process.terminate()
        return self.process.wait(STOP_SECONDS)

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        response = self.session.request(
            method, self.http_url + path, timeout=CALL_SECONDS, **arguments
        )
        if response.status_code != 200:
            raise RuntimeError(f"{method} {path}: {response.status_code} {response.text}")
        return response.json()


@contextmanager
def running_sandbox(
    *, magic_recipients: bool = False, module: str = "sandbox"
) -> Iterator[RunningSandbox]:
    """Runs a sandbox on free ports until the block ends. Magic recipients are off, since tests
    and benches count their numbers up and would run into them. Raises RuntimeError if it
    doesn't start; its own words are on stderr."""
    command = [sys.executable, "-m", module, "--http-port", "0", "--smtp-port", "0"]
    if not magic_recipients:
        command.append("--no-magic-recipients")
    root = Path(__file__).parent.parent
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own command
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
