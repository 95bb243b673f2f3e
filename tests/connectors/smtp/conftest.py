from collections.abc import Callable, Iterator
from typing import Any

import pytest

from connectors.smtp.connector import Smtp
from connectors.smtp.settings import SmtpSettings
from tests.doubles.smtp_authority import Authority
from tests.doubles.smtp_server import MailServer, ScriptedServer


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def start() -> Iterator[Callable[[Any], Any]]:
    running = []

    def start(server: Any) -> Any:
        server.start()
        running.append(server)
        return server

    yield start
    for server in running:
        server.stop()


@pytest.fixture(scope="module")
def plain_server() -> Iterator[MailServer]:
    server = MailServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def server(plain_server: MailServer) -> MailServer:
    """An SMTP server without TLS, with nothing received yet."""
    plain_server.reset()
    return plain_server


# Requested after the servers, and so closed before they stop.
@pytest.fixture
def connect(start: Any, server: MailServer) -> Iterator[Callable[..., Smtp]]:
    opened = []

    def connect(to: Any = server, **settings: Any) -> Smtp:
        defaults = {"host": "127.0.0.1", "port": to.port, "security": "plain"}
        connector = Smtp(
            SmtpSettings(**{**defaults, "sender": "Shop <shop@example.org>", **settings})
        )
        opened.append(connector)
        return connector

    yield connect
    for connector in opened:
        connector.close()


@pytest.fixture
def scripted(start: Any, connect: Any) -> Callable[..., tuple[ScriptedServer, Smtp]]:
    def scripted(
        script: dict[str, Any], settings: dict[str, Any] | None = None, **options: Any
    ) -> tuple[ScriptedServer, Smtp]:
        server = start(ScriptedServer(script, **options))
        return server, connect(server, **(settings or {}))

    return scripted
