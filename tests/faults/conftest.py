"""One Postroom for all tests of a module, with servers of its own that a test may kill."""

import os
from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest

from app.local.servers import PostgresServer, ValkeyServer
from sandbox.client import running_sandbox
from tests.faults.harness import AGENTS, FaultyPostroom
from tests.servers import migrate, postgres, valkey


@pytest.fixture(scope="session")
def fault_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A PostgreSQL with the settings of an installation; its database `postroom` is migrated."""
    with postgres(tmp_path_factory.mktemp("faults"), durable=True) as server:
        migrate(server.url)
        yield server


@pytest.fixture(scope="session")
def fault_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """A Valkey that is empty after each start."""
    with valkey(tmp_path_factory.mktemp("faults")) as server:
        yield server


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory,
    fault_postgres: PostgresServer,
    fault_valkey: ValkeyServer,
) -> Iterator[FaultyPostroom]:
    """A Postroom with a database of its own. Each test starts the processes that it needs."""
    name = f"fault_{os.urandom(6).hex()}"
    address = fault_postgres.url.rpartition("/")[0]
    with closing(psycopg2.connect(f"{address}/postgres")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name} TEMPLATE postroom")
    with running_sandbox() as sandbox:
        postroom = FaultyPostroom(
            folder=tmp_path_factory.mktemp("postroom"),
            database_url=f"{address}/{name}",
            postgres=fault_postgres,
            valkey=fault_valkey,
            sandbox=sandbox,
            agents=AGENTS,
        )
        with postroom.redis() as client:
            client.flushall()
        yield postroom
        postroom.end()


@pytest.fixture
def postroom(request: pytest.FixtureRequest, stack: FaultyPostroom) -> Iterator[FaultyPostroom]:
    """The Postroom of the module, without messages. Its processes go on from test to test."""
    stack.begin_test()
    stack.report = lambda figures: request.node.user_properties.append(("fault", figures))
    yield stack
    stack.print_logs()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what each fault cost."""
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    lines = [
        f"{report.nodeid.rpartition('/')[2]}: {figures}"
        for report in reports
        for name, figures in report.user_properties
        if name == "fault" and report.when == "call"
    ]
    if lines:
        terminalreporter.section("cost of each fault")
        for line in sorted(lines):
            terminalreporter.line(line)
