"""One Postroom of real processes for all scenarios. Each scenario has its own recipients."""

import os
from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest

from app.local.servers import PostgresServer, ValkeyServer
from tests.doubles.client import running_doubles
from tests.postroom import Postroom
from tests.scenarios.caller import Caller
from tests.scenarios.providers import AGENTS
from tests.servers import migrate


@pytest.fixture(scope="package")
def postroom(
    tmp_path_factory: pytest.TempPathFactory,
    postgres_server: PostgresServer,
    valkey_server: ValkeyServer,
) -> Iterator[Postroom]:
    """Web, worker and beat with all simulated providers."""
    name = f"scenario_{os.urandom(6).hex()}"
    address = postgres_server.url.rpartition("/")[0]
    with closing(psycopg2.connect(f"{address}/postgres")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
    with running_doubles() as sandbox:
        folder = tmp_path_factory.mktemp("scenario")
        # FCM's double creates a new key at each start.
        key = sandbox.session.get(f"{sandbox.http_url}/fcm/service-account.json", timeout=30)
        (folder / "firebase.json").write_text(key.text)
        postroom = Postroom(
            folder,
            f"{address}/{name}",
            postgres_server,
            valkey_server,
            sandbox,
            agents=AGENTS,
        )
        with postroom.redis() as client:
            client.flushall()
        try:
            migrate(postroom.database_url)
            postroom.start(workers=1, beats=1, web=True)
            yield postroom
        finally:
            postroom.end()


@pytest.fixture(scope="package")
def caller(postroom: Postroom) -> Iterator[Caller]:
    """A client of its API."""
    with Caller(postroom) as caller:
        # SendGrid has one URL for all events of an account, and one for inbound mail.
        webhooks = f"{postroom.url}/api/webhooks/sendgrid"
        caller.simulate(
            "PUT", "/sendgrid/_webhook", url=f"{webhooks}/status", inbound_url=f"{webhooks}/inbound"
        )
        yield caller


@pytest.fixture(autouse=True)
def logs(postroom: Postroom) -> Iterator[None]:
    """Print the logs of all processes if the scenario fails."""
    yield
    postroom.print_logs()
