"""A whole Postroom of real processes, and the means to break it."""

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import redis
import requests
from sqlalchemy import NullPool, create_engine

from app.auth import tokens as auth
from app.local.processes import processes
from app.local.servers import PostgresServer, Server, ValkeyServer
from app.settings import Settings
from sandbox.client import RunningSandbox
from tests.servers import free_port

ROOT = Path(__file__).resolve().parents[2]
GENEROUS_SECONDS = 90.0
POLL_SECONDS = 0.1
LOG_LINES = 200

QUEUE_LEASE_SECONDS = 5
MAX_IN_FLIGHT = 16
SEND_DEADLINE_SECONDS = 3
WEBHOOK_SECRET = "what-the-gateway-signs-with"
# Three agents that differ in what they do after an uncertain try, and in how many they queue.
AGENTS = """
[agents.gateway]
connector = "gateway"
channels = ["sms"]
max_in_flight = {max_in_flight}
retry = {{ attempts = 8, base_seconds = 1, factor = 2, cap_seconds = 4 }}
[agents.gateway.settings]
url = "{gateway}"
allow_networks = ["loopback"]
connect_timeout_seconds = 1
read_timeout_seconds = 2
total_timeout_seconds = {deadline}
webhook_secrets = ["{webhook_secret}"]
webhook_hmac = {{ header = "X-Signature" }}

[agents.bulk]
connector = "gateway"
channels = ["mms"]
max_in_flight = 600
retry = {{ attempts = 8, base_seconds = 1, factor = 2, cap_seconds = 4 }}
[agents.bulk.settings]
url = "{gateway}"
allow_networks = ["loopback"]
connect_timeout_seconds = 1
read_timeout_seconds = 2
total_timeout_seconds = {deadline}

[agents.careful]
connector = "api"
channels = ["http"]
on_uncertain = "hold"
retry = {{ attempts = 8, base_seconds = 1, factor = 2, cap_seconds = 4 }}
[agents.careful.settings]
uri = "{api}"
allow_networks = ["loopback"]
connect_timeout_seconds = 1
read_timeout_seconds = 2
total_timeout_seconds = {deadline}
"""


@dataclass
class Process:
    """One process and all that it started, in a process group of its own."""

    name: str
    popen: "subprocess.Popen[bytes]"
    log: Path
    ended_by_us: bool = False

    def kill(self) -> None:
        """End it and its children at once, as a crash would."""
        self.ended_by_us = True
        self.send(signal.SIGKILL)
        self.popen.wait()

    def stop(self) -> int:
        """Ask it to end in good order; returns its exit code."""
        self.ended_by_us = True
        self.popen.terminate()
        return self.popen.wait(GENEROUS_SECONDS)

    def freeze(self) -> None:
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        self.send(signal.SIGCONT)

    def send(self, number: signal.Signals) -> None:
        """Signal the whole group."""
        if self.popen.poll() is None:
            os.killpg(self.popen.pid, number)

    def children(self) -> list[int]:
        """The pids of the processes it started."""
        path = Path(f"/proc/{self.popen.pid}/task/{self.popen.pid}/children")
        return [int(pid) for pid in path.read_text().split()]


@dataclass
class Figures:
    """What a fault cost."""

    lost: int
    doubled: int
    recovered_seconds: float

    def __str__(self) -> str:
        return (
            f"lost={self.lost} doubled={self.doubled} recovered in {self.recovered_seconds:.1f} s"
        )


@dataclass
class Postroom:
    """The processes around one database, one Redis and one sandbox, with these `agents`.

    `accepted` holds the ids of all messages that Postroom has confirmed.
    """

    folder: Path
    database_url: str
    postgres: PostgresServer
    valkey: ValkeyServer
    sandbox: RunningSandbox
    report: Callable[[str], None]
    agents: str = AGENTS
    running: list[Process] = field(default_factory=list)
    accepted: set[int] = field(default_factory=set)
    fault_over_at: float = 0.0

    def __post_init__(self) -> None:
        self._connection: Any = None
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
                deadline=SEND_DEADLINE_SECONDS,
                max_in_flight=MAX_IN_FLIGHT,
                webhook_secret=WEBHOOK_SECRET,
            )
        )
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("POSTROOM_")
        } | {
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.valkey.url,
            "POSTROOM_AGENTS_FILE": str(agents),
            "POSTROOM_VAR": str(self.folder),
            "POSTROOM_PORT": str(self.port),
            "POSTROOM_PUBLIC_URL": self.url,
            "POSTROOM_QUEUE_LEASE_SECONDS": str(QUEUE_LEASE_SECONDS),
            "POSTROOM_SCAN_SECONDS": "5",
            "POSTROOM_HOUSEKEEPING_SECONDS": "5",
            "POSTROOM_POLL_SECONDS": "0.5",
            "POSTROOM_WORKER_CONCURRENCY": "32",
            "POSTROOM_SUBMIT_RATE_LIMITS": '["100000/second"]',
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }
        settings = Settings(_env_file=None, var=self.folder, port=self.port)
        self._commands = {process.name: process.command for process in processes(settings)}

    # --- processes

    def workers(self, count: int) -> list[Process]:
        """Start workers and wait until they consume."""
        started = [
            self._start("worker", "--loglevel=INFO", f"--hostname=w{self._next()}@%h")
            for _ in range(count)
        ]
        for worker in started:
            until(lambda worker=worker: " ready." in worker.log.read_text(), "the worker starts")
        return started

    def beat(self) -> Process:
        """Start a beat, each with a schedule of its own."""
        schedule = self.folder / f"schedule{self._next()}"
        return self._start("beat", f"--schedule={schedule}")

    def web(self, **environment: str) -> Process:
        """Start the web process and wait until it answers."""
        started = self._spawn("web", self._commands["web"], environment)
        until(self._web_answers, "the web process starts")
        return started

    def python(self, program: str, *, wait: bool = True, **environment: str) -> Process:
        """Run a few lines of Python as one more process of this Postroom."""
        process = self._spawn("python", [self._commands["worker"][0], "-c", program], environment)
        if wait:
            assert process.popen.wait(GENEROUS_SECONDS) == 0, process.log.read_text()
            process.ended_by_us = True
        return process

    def _start(self, name: str, *options: str) -> Process:
        return self._spawn(name, [*self._commands[name], *options], {})

    def _spawn(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> Process:
        log = self.folder / f"{self._next()}.{name}.log"
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
        self.running.append(process)
        return process

    def _next(self) -> int:
        return len(self.running)

    def _web_answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/health/ready", timeout=5).ok
        except requests.RequestException:
            return False

    def end(self) -> None:
        """End every process and show what each said last."""
        if self._connection is not None:
            self._connection.close()
        for process in self.running:
            process.thaw()
            process.kill()
            lines = process.log.read_text(errors="replace").splitlines()[-LOG_LINES:]
            print(f"--- {process.log.name}", *lines, sep="\n")

    # --- messages

    def token(self, *scopes: str) -> str:
        """A new token for the API."""
        url = self.database_url.replace("postgresql:", "postgresql+psycopg2:")
        engine = create_engine(url, poolclass=NullPool)
        with engine.begin() as connection:
            return auth.create_token(connection, name="test", scopes=scopes)

    def submit(self, count: int, channel: str = "sms") -> None:
        """Have `count` messages accepted, each by a plain INSERT."""
        recipient = "'/' || n" if channel == "http" else "'+1202555' || lpad(n::text, 4, '0')"
        rows = self.query(
            f"INSERT INTO messages (channel, recipient, body) "
            f"SELECT %s, {recipient}, 'hello' FROM generate_series(1, %s) AS n RETURNING id",
            channel,
            count,
        )
        self.accepted.update(row[0] for row in rows)

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of one statement. Raises psycopg2.OperationalError where the database has
        gone; the next one connects again."""
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

    def count(self, *statuses: str) -> int:
        """How many messages have one of these statuses."""
        rows = self.query(
            "SELECT count(*) FROM messages WHERE direction = 'outbound' AND status = ANY(%s)",
            list(statuses),
        )
        return int(rows[0][0])

    def waiting_retries(self) -> int:
        """How many messages are held by a Celery retry that waits in a worker."""
        statement = (
            "SELECT count(*) FROM messages WHERE status = 'retry' AND lease_until IS NOT NULL"
        )
        return int(self.query(statement)[0][0])

    def redis(self) -> "redis.Redis":
        """A client of the broker."""
        return redis.Redis.from_url(self.valkey.url, socket_timeout=10)

    # --- the account

    def mark_fault_over(self) -> None:
        """From now on it is Postroom's to recover."""
        self.fault_over_at = time.monotonic()

    def await_end(self, seconds: float = GENEROUS_SECONDS) -> None:
        """Wait until every message has ended."""
        until(lambda: self._unfinished() == 0, "every message ends", seconds, self._statuses)

    def account(self, *, doubled_at_most: int = 0, ends: Sequence[str] = ("sent",)) -> Figures:
        """Wait for the end, and check that nothing accepted is lost, that nothing was sent more
        often than the fault excuses, and that every process lived that we did not end."""
        self.await_end()
        recovered_seconds = time.monotonic() - self.fault_over_at
        rows = self.query("SELECT id, uid::text, status FROM messages WHERE direction = 'outbound'")
        received = Counter(record["key"] for record in self.sandbox.received())
        statuses = Counter(status for _, _, status in rows)
        missing = self.accepted - {number for number, _, _ in rows}
        unsent = [uid for _, uid, status in rows if status == "sent" and uid not in received]
        figures = Figures(
            len(missing) + len(unsent),
            sum(received.values()) - len(received),
            recovered_seconds,
        )
        self.report(f"{figures}; {dict(statuses)}, {doubled_at_most} doubles excused")
        assert figures.lost == 0
        assert set(statuses) <= set(ends), statuses
        assert set(received) <= {uid for _, uid, _ in rows}
        assert figures.doubled <= doubled_at_most
        died = [
            p.log.name for p in self.running if not p.ended_by_us and p.popen.poll() is not None
        ]
        assert not died
        return figures

    def _unfinished(self) -> int:
        return int(
            self.query(
                "SELECT count(*) FROM messages WHERE direction = 'outbound' AND finished_at IS NULL"
            )[0][0]
        )

    def _statuses(self) -> str:
        return str(
            self.query("SELECT status, reason, count(*) FROM messages GROUP BY 1, 2 ORDER BY 3")
        )


@contextmanager
def down(server: Server, end: Callable[[], None]) -> Iterator[None]:
    """`end` the server, and start it again after the block."""
    end()
    try:
        yield
    finally:
        server.start()


@contextmanager
def frozen(held: Server | Process) -> Iterator[None]:
    """Keep it from doing anything within the block, its connections open."""
    held.freeze()
    try:
        yield
    finally:
        held.thaw()


def until(
    condition: Callable[[], bool],
    what: str,
    seconds: float = GENEROUS_SECONDS,
    explain: Callable[[], str] = str,
) -> None:
    """Wait for `condition`; a database that is away counts as not yet."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except psycopg2.OperationalError:
            pass
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s in vain until {what}: {explain()}")
        time.sleep(POLL_SECONDS)
