"""Servers for faults, which a test may kill, since only its own Postroom uses them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from app.local.servers import PostgresServer, ValkeyServer
from sandbox.client import running_sandbox
from tests.faults.harness import ROOT, Postroom
from tests.servers import free_port


@pytest.fixture(scope="session")
def fault_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A PostgreSQL that keeps what it has confirmed; its database `postroom` is migrated."""
    folder = tmp_path_factory.mktemp("faults")
    server = PostgresServer(folder / "postgres", free_port(), durable=True)
    server.start()
    subprocess.run(
        [sys.executable, "-c", "from app import migrate; migrate.upgrade()"],
        cwd=folder,
        env={**os.environ, "DATABASE_URL": server.url, "PYTHONPATH": str(ROOT)},
        check=True,
    )
    yield server
    server.kill()


@pytest.fixture(scope="session")
def fault_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """A Valkey that forgets everything when it ends."""
    server = ValkeyServer(tmp_path_factory.mktemp("faults") / "valkey", free_port(), durable=False)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def postroom(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    fault_postgres: PostgresServer,
    fault_valkey: ValkeyServer,
) -> Iterator[Postroom]:
    """A Postroom with an empty outbox, of which nothing runs yet but its servers."""
    name = f"fault_{os.urandom(6).hex()}"
    address = fault_postgres.url.rpartition("/")[0]
    with closing(psycopg2.connect(f"{address}/postgres")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name} TEMPLATE postroom")
    with running_sandbox() as sandbox:
        postroom = Postroom(
            tmp_path,
            f"{address}/{name}",
            fault_postgres,
            fault_valkey,
            sandbox,
            report=lambda text: request.node.user_properties.append(("fault", text)),
        )
        with postroom.redis() as client:
            client.flushall()
        yield postroom
        postroom.end()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what each fault cost."""
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    figures = [
        f"{report.nodeid.rpartition('/')[2]}: {text}"
        for report in reports
        if report.when == "call"
        for name, text in report.user_properties
        if name == "fault"
    ]
    if figures:
        terminalreporter.section("what each fault cost")
        for line in sorted(figures):
            terminalreporter.line(line)
