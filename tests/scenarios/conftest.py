"""One Postroom of real processes for all tests of a module, with the agents of its `AGENTS`."""

import os
from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest

from app.local.servers import PostgresServer, ValkeyServer
from tests.doubles.client import running_doubles
from tests.postroom import Postroom
from tests.scenarios.caller import Caller
from tests.servers import migrate


@pytest.fixture(scope="module")
def postroom(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    postgres_server: PostgresServer,
    valkey_server: ValkeyServer,
) -> Iterator[Postroom]:
    """Web, worker and beat, before a sandbox."""
    name = f"scenario_{os.urandom(6).hex()}"
    address = postgres_server.url.rpartition("/")[0]
    with closing(psycopg2.connect(f"{address}/postgres")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
    with running_doubles() as sandbox:
        folder = tmp_path_factory.mktemp("scenario")
        # The sandbox makes this key anew at each start.
        key = sandbox.session.get(f"{sandbox.http_url}/fcm/service-account.json", timeout=30)
        (folder / "firebase.json").write_text(key.text)
        postroom = Postroom(
            folder,
            f"{address}/{name}",
            postgres_server,
            valkey_server,
            sandbox,
            agents=request.module.AGENTS,
        )
        with postroom.redis() as client:
            client.flushall()
        try:
            migrate(postroom.database_url)
            postroom.start(workers=1, beats=1, web=True)
            yield postroom
        finally:
            postroom.end()


@pytest.fixture(scope="module")
def caller(postroom: Postroom) -> Iterator[Caller]:
    """A client of its API."""
    with Caller(postroom) as caller:
        yield caller
