"""A Postroom for one benchmark: embedded servers, a sandbox and some of the processes."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import text

from app import db, migrate
from app.agents import agents
from app.auth import tokens as auth
from app.local.servers import PostgresServer, ValkeyServer, free_port
from app.settings import settings
from sandbox.client import RunningSandbox, running_sandbox

MAX_IN_FLIGHT = 32
AGENT = """
[agents.{name}]
connector = "gateway"
max_in_flight = {max_in_flight}
[agents.{name}.settings]
url = "{url}"
allow_networks = ["loopback"]
"""

# Reads only partial indexes. A scan of the table would disturb the measurement.
ALL_SENT = text("""
SELECT NOT EXISTS(
    SELECT FROM messages WHERE status IN ('outbox', 'retry') AND lease_until IS NULL
) AND NOT EXISTS(SELECT FROM messages WHERE lease_until IS NOT NULL)
""")


@dataclass(frozen=True)
class Stack:
    """The servers and processes of a benchmark."""

    sandbox: RunningSandbox
    folder: Path
    _processes: ExitStack
    pids: dict[str, int] = field(default_factory=dict)

    def run(self, name: str, *command: str, **environment: str) -> None:
        """Start `python -m COMMAND`, with its output in the file NAME.log."""
        log = self._processes.enter_context((self.folder / f"{name}.log").open("wb"))
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            env={**os.environ, **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        self._processes.callback(process.wait)
        self._processes.callback(process.terminate)
        self.pids[name] = process.pid

    def run_web(self, **environment: str) -> str:
        """Start the API, wait until it listens, and return a token."""
        self.run("web", "app.local.processes", "web", **environment)
        wait_until(_web_listens, "the API listens")
        with db.transaction() as connection:
            return auth.create_token(connection, name="bench", scopes=["submit"])


@contextmanager
def running_stack(
    agent_names: Sequence[str] = ("gateway",), further_agents: str = ""
) -> Iterator[Stack]:
    """Run servers with fast settings, a migrated database and a sandbox.

    This process uses them too. If the block fails, the logs of the processes are printed.

    Args:
        agent_names: The names of agents with the gateway connector.
        further_agents: More agents, as TOML.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="postroom-bench-")))
        postgres = PostgresServer(folder / "postgres", free_port(), durable=False)
        valkey = ValkeyServer(folder / "valkey", free_port(), durable=False)
        for server in (postgres, valkey):
            server.start()
            stack.callback(server.stop)
        sandbox = stack.enter_context(running_sandbox())
        agents_file = folder / "agents.toml"
        agents_file.write_text(
            "".join(
                AGENT.format(name=name, max_in_flight=MAX_IN_FLIGHT, url=sandbox.gateway_url)
                for name in agent_names
            )
            + further_agents
        )
        port = free_port()
        os.environ |= {
            "DATABASE_URL": postgres.url,
            "REDIS_URL": valkey.url,
            "POSTROOM_AGENTS_FILE": str(agents_file),
            "POSTROOM_VAR": str(folder),
            "POSTROOM_PORT": str(port),
            "POSTROOM_PUBLIC_URL": f"http://127.0.0.1:{port}",
            "POSTROOM_WEB_WORKERS": "1",
            "POSTROOM_SUBMIT_RATE_LIMITS": '["1000000/second"]',
            "POSTROOM_TASK_EVENTS": "false",
            "POSTROOM_LOG_LEVEL": "WARNING",
        }
        db.close()
        for cached in (settings, agents):
            cached.cache_clear()
        migrate.upgrade()
        stack.callback(db.close)
        try:
            yield Stack(sandbox, folder, stack.enter_context(ExitStack()))
        except BaseException:
            for log in folder.glob("*.log"):
                print(f"{log.name}: … {log.read_text()[-2000:]}", file=sys.stderr)
            raise


def wait_until(
    done: Callable[[], bool], what: str, seconds: float = 120, pause_seconds: float = 0.01
) -> None:
    """Wait until `done` returns True.

    Raises:
        TimeoutError: It did not; the text contains `what`.
    """
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(pause_seconds)


def wait_until_all_sent() -> None:
    """Wait until no message is waiting or in flight.

    Raises:
        TimeoutError: Some still are after two minutes.
        RuntimeError: Some were not sent.
    """
    with db.autocommit() as connection:
        connection.execute(text("SET enable_seqscan = off"))
        wait_until(
            lambda: connection.execute(ALL_SENT).scalar_one() is True,
            "all messages are sent",
            pause_seconds=0.1,
        )
        not_sent = connection.execute(text("SELECT count(*) FROM messages WHERE status <> 'sent'"))
        if number := not_sent.scalar_one():
            raise RuntimeError(f"{number} messages were not sent")


def _web_listens() -> bool:
    try:
        socket.create_connection((settings().host, settings().port)).close()
    except ConnectionRefusedError:
        return False
    return True
