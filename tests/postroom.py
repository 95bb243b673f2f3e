"""A complete Postroom of real processes: web, workers and beats around one database and Redis."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import redis
import requests
from sqlalchemy import NullPool, create_engine

from app.auth import tokens as auth
from app.local.processes import processes
from app.local.servers import PostgresServer, ValkeyServer
from app.settings import Settings
from sandbox.client import RunningSandbox
from tests.servers import free_port

ROOT = Path(__file__).resolve().parents[1]
MAX_WAIT_SECONDS = 90.0
CHECK_SECONDS = 0.03
LOG_LINES = 200
ENVIRONMENT = {
    "POSTROOM_QUEUE_LEASE_SECONDS": "5",
    "POSTROOM_SCAN_SECONDS": "2",
    "POSTROOM_MAINTENANCE_SECONDS": "5",
    "POSTROOM_POLL_SECONDS": "0.5",
    "POSTROOM_WEB_WORKERS": "1",
    "POSTROOM_WORKER_CONCURRENCY": "40",  # more than a worker has connections to PostgreSQL
    "POSTROOM_SUBMIT_RATE_LIMITS": '["100000/second"]',
    "PYTHONUNBUFFERED": "1",
}


@dataclass
class Process:
    """A process and its children, in a process group of their own."""

    name: str
    popen: "subprocess.Popen[bytes]"
    log: Path
    log_start: int = 0  # where the output of the current test begins
    is_ended: bool = False  # by the test, as opposed to a crash

    def kill(self) -> None:
        """End it and its children at once, as a crash would."""
        self.is_ended = True
        self._signal(signal.SIGKILL)
        self.popen.wait()

    def stop(self) -> int:
        """End it with SIGTERM and return its exit code."""
        self.is_ended = True
        self.popen.terminate()
        return self.popen.wait(MAX_WAIT_SECONDS)

    def freeze(self) -> None:
        """Suspend it and its children."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Resume it and its children after `freeze`."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self.popen.poll() is None:
            os.killpg(self.popen.pid, number)

    def children(self) -> list[int]:
        """Return the process ids of its children."""
        path = Path(f"/proc/{self.popen.pid}/task/{self.popen.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def output(self) -> str:
        """Return everything it has logged."""
        return self.log.read_text(errors="replace")


@dataclass
class Postroom:
    """The processes of one Postroom, which sends through `sandbox` with these `agents`."""

    folder: Path
    database_url: str
    postgres: PostgresServer
    valkey: ValkeyServer
    sandbox: RunningSandbox
    agents: str
    processes: list[Process] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._connection: Any = None
        self._started = 0
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        agents = self.folder / "agents.toml"
        agents.write_text(
            self.agents.format(
                url=self.url,
                folder=self.folder,
                sandbox=self.sandbox,
                gateway=self.sandbox.gateway_url,
                api=self.sandbox.api_url,
            )
        )
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith("POSTROOM_")
        }
        self.environment = {
            **inherited,
            **ENVIRONMENT,
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.valkey.url,
            "POSTROOM_AGENTS_FILE": str(agents),
            "POSTROOM_VAR": str(self.folder),
            "POSTROOM_PORT": str(self.port),
            "POSTROOM_PUBLIC_URL": self.url,
            "PYTHONPATH": str(ROOT),
        }
        settings = Settings(_env_file=None, var=self.folder, port=self.port, web_workers=1)
        self._commands = {process.name: process.command for process in processes(settings)}

    # --- processes

    def start(
        self, *, workers: int = 0, beats: int = 0, web: bool = False, **environment: str
    ) -> None:
        """Start the processes that are missing, all at once, and wait until they are ready.

        `environment` holds further variables for the web process and the workers.
        """
        started = [self._start("web", **environment) for _ in range(web - len(self.running("web")))]
        started += [
            self._start(
                "worker", "--loglevel=INFO", f"--hostname=w{self._started}@%h", **environment
            )
            for _ in range(workers - len(self.running("worker")))
        ]
        for _ in range(beats - len(self.running("beat"))):
            self._start("beat", f"--schedule={self.folder}/schedule{self._started}")
        for process in started:
            until(lambda process=process: self._is_ready(process), f"{process.name} is ready")

    def running(self, name: str) -> list[Process]:
        """Return the running processes called `name`, oldest first."""
        return [
            process
            for process in self.processes
            if process.name == name and not process.is_ended and process.popen.poll() is None
        ]

    def kill(self, name: str) -> None:
        """Kill the running processes called `name`."""
        for process in self.running(name):
            process.kill()

    def leader(self) -> Process:
        """Return the worker that leads the scans."""
        elected = [
            (line, worker)
            for worker in self.running("worker")
            for line in worker.output().splitlines()
            if "leads the scans" in line
        ]
        return max(elected, key=lambda found: found[0])[1]  # a line starts with its time

    def start_python(self, program: str) -> Process:
        """Start a few lines of Python as one more process of this Postroom."""
        return self._spawn("python", [self._commands["worker"][0], "-c", program], {})

    def end(self) -> None:
        """End every process."""
        if self._connection is not None:
            self._connection.close()
        for process in self.processes:
            process.thaw()
            process.kill()

    def _start(self, name: str, *options: str, **environment: str) -> Process:
        return self._spawn(name, [*self._commands[name], *options], environment)

    def _spawn(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> Process:
        log = self.folder / f"{self._started}.{name}.log"
        self._started += 1
        with log.open("wb") as output:
            popen = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        process = Process(name, popen, log)
        self.processes.append(process)
        return process

    def _is_ready(self, process: Process) -> bool:
        if process.name == "worker":
            return " ready." in process.output()
        try:
            return requests.get(f"{self.url}/health/ready", timeout=5).ok
        except requests.RequestException:
            return False

    # --- tests

    def begin_test(self) -> None:
        """Delete what the previous test left: rows, simulated failures, ended processes.

        Ids go on counting, so that a task left in Redis or in a worker matches no message.
        """
        self.processes = [one for one in self.processes if one.popen.poll() is None]
        for process in self.processes:
            process.thaw()
            process.log_start = len(process.output())
        for table in ("messages", "conversations", "receipts"):
            delete = f"DELETE FROM {table} RETURNING 1"
            until(lambda delete=delete: self.query(delete) is not None, f"{table} is empty")
        self.sandbox.clear()

    def print_logs(self) -> None:
        """Print the last lines that each process has logged during the test."""
        for process in self.processes:
            lines = process.output()[process.log_start :].splitlines()
            print(f"--- {process.log.name}", *lines[-LOG_LINES:], sep="\n")

    def token(self, *scopes: str) -> str:
        """Create a token for the API and return it."""
        url = self.database_url.replace("postgresql:", "postgresql+psycopg2:")
        engine = create_engine(url, poolclass=NullPool)
        with engine.begin() as connection:
            return auth.create_token(connection, name="test", scopes=scopes)

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of one statement.

        Raises:
            psycopg2.OperationalError: The connection was lost. The next query opens another.
        """
        if self._connection is None:
            self._connection = psycopg2.connect(self.database_url, connect_timeout=5)
            self._connection.autocommit = True
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(statement, values)
                return cursor.fetchall()
        except psycopg2.OperationalError:
            self._connection.close()
            self._connection = None
            raise

    def redis(self) -> "redis.Redis":
        """Return a client of the broker."""
        return redis.Redis.from_url(self.valkey.url, socket_timeout=10)


def until(
    condition: Callable[[], bool],
    expectation: str,
    seconds: float = MAX_WAIT_SECONDS,
    explain: Callable[[], str] = str,
) -> None:
    """Wait until `condition` is true; an unreachable database counts as false.

    Raises:
        AssertionError: Not within `seconds`. It names the `expectation`.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except psycopg2.OperationalError:
            pass
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {expectation}: {explain()}")
        time.sleep(CHECK_SECONDS)
