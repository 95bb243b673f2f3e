"""`postroom up`: run Postroom and everything it needs on this machine."""

import fcntl
import http.client
import os
import signal
import socket
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

import click
from sqlalchemy.exc import OperationalError

from app.agents import AgentsError, agents
from app.auth import tokens as auth
from app.db import autocommit, transaction
from app.local.processes import Port, Process, processes
from app.local.servers import PostgresServer, Server, ServerError, ValkeyServer, write_private
from app.local.supervisor import supervise
from app.migrate import NewerDatabaseError, upgrade
from app.server_log import find_exposures
from app.settings import Settings
from app.settings import settings as settings_of_this_process

WARNING_SECONDS = 30


class StartError(Exception):
    """Nothing was started. The text says why."""


def up(settings: Settings) -> int:
    """Run all processes of Postroom until a signal, and return the exit code: 0 after a signal.

    PostgreSQL and Valkey are embedded, unless the environment sets `DATABASE_URL` and `REDIS_URL`.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        settings.var.mkdir(parents=True, exist_ok=True)
        with _locked(settings.var):
            return _up(settings)
    except (AgentsError, NewerDatabaseError, ServerError, StartError) as error:
        for line in str(error).splitlines():
            click.echo(f"postroom: {line}", err=True)
        return 1
    except KeyboardInterrupt:
        return 0


def _up(settings: Settings) -> int:
    agents()  # report errors in agents.toml here rather than in the log of each process
    servers = _embedded_servers(settings)
    server_processes = [_process_of(server) for server in servers]
    *others, sandbox = processes(settings)
    _check_ports([*server_processes, *others, sandbox])

    for server in servers:
        server.prepare()
    _publish_urls(servers, settings.var / "env")
    with ExitStack() as running:
        for server in servers:
            running.callback(server.stop)
            server.start()
        _migrate()
        _create_first_token(settings.var / "token")

    click.echo(f"Starting. Each process writes to {settings.var / 'log'}/<name>.log")
    return supervise(
        [[*server_processes, sandbox], others],
        settings.var,
        wait_until_ready=lambda: _wait_until_ready(f"{_web(settings)}/health/ready"),
        when_ready=lambda: click.echo(_welcome(settings)),
    )


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def _locked(var: Path) -> Iterator[None]:
    """Lock `var` against a second `postroom up`.

    Raises:
        StartError: Another one holds the lock.
    """
    with (var / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError(f"another `postroom up` is running in {var.absolute()}") from None
        yield


def _embedded_servers(settings: Settings) -> list[Server]:
    """Return the servers to run: those whose URL the environment does not set."""
    servers: list[Server] = [
        PostgresServer(settings.var / "postgres", settings.postgres_port, durable=True),
        ValkeyServer(settings.var / "valkey", settings.valkey_port, durable=True),
    ]
    return [server for server in servers if not os.environ.get(server.url_variable)]


def _process_of(server: Server) -> Process:
    return Process(
        server.name,
        tuple(server.command),
        ports=(Port(server.port_variable, "127.0.0.1", server.port),),
        stop_signal=server.stop_signal.name.removeprefix("SIG"),
    )


def _check_ports(wanted: Sequence[Process]) -> None:
    """Check that all ports are free.

    Raises:
        StartError: Some are not; the text names each and the setting that changes it.
    """
    errors = []
    with ExitStack() as held:  # all at once, to detect two processes with the same port
        for process in wanted:
            for port in process.ports:
                listener = held.enter_context(socket.socket())
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    listener.bind((port.host, port.number))
                    listener.listen()
                except OSError as error:
                    errors.append(
                        f"{process.name}: cannot listen on {port.host}:{port.number} "
                        f"({error.strerror}). Set {port.variable} to another port."
                    )
    if errors:
        raise StartError("\n".join(errors))


def _publish_urls(servers: Sequence[Server], path: Path) -> None:
    """Set the URLs of the servers in the environment, and in a file for other terminals."""
    urls = {server.url_variable: server.url for server in servers}
    write_private(path, "".join(f"{name}={url}\n" for name, url in urls.items()))
    os.environ.update(urls)
    settings_of_this_process.cache_clear()


def _migrate() -> None:
    try:
        upgrade()
    except OperationalError as error:
        raise StartError(f"database: cannot be migrated: {error.orig}") from None
    with autocommit() as connection:
        for warning in find_exposures(connection):
            click.echo(f"postroom: warning: {warning}", err=True)


def _create_first_token(path: Path) -> None:
    """Create a token with every scope, print it and store it in `path`, unless there are tokens."""
    with transaction() as connection:
        if auth.list_tokens(connection):
            return
        token = auth.create_token(connection, name="first", scopes=auth.SCOPES)
        write_private(path, token + "\n")
    click.echo(f"The first API token, stored in {path}: {token}")


def _wait_until_ready(url: str) -> None:
    """Return once `url` responds with 200."""
    warn_at = time.monotonic() + WARNING_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own URL
                return
        except (OSError, http.client.HTTPException) as error:
            if time.monotonic() > warn_at:
                click.echo(f"Not ready yet. {url}: {error}")
                warn_at = float("inf")
        time.sleep(0.1)


def _web(settings: Settings) -> str:
    host = "127.0.0.1" if settings.host == "0.0.0.0" else settings.host  # noqa: S104 - only compared
    return f"http://{host}:{settings.port}"


def _welcome(settings: Settings) -> str:
    web, token = _web(settings), settings.var / "token"
    ask = f'curl -s -H "Authorization: Bearer $(cat {token})"'
    post = f"{ask} -H 'Content-Type: application/json'"
    sms = '{"from": "+12016661234", "to": "+18045551234", "type": "sms", "body": "Hello"}'
    mail = '{"from": "me@example.com", "to": "you@example.com", "subject": "Hi", "body": "Hello"}'
    sandbox = f"http://127.0.0.1:{settings.sandbox_http_port}"
    fail = '{"to": "+18045551234", "do": {"status": 503}, "times": 2}'
    talk = '{"agent": "twilio", "to": "+18045551234", "type": "sms", "body": "Hello"}'
    answer = (
        f'{{"url": "{web}/api/webhooks/twilio/inbound",'
        ' "From": "+18045551234", "To": "+15005550006", "Body": "Hi!"}'
    )
    return f"""
Postroom is up. Ctrl-C stops it. Try in another terminal:

  a text message   {post} {web}/api/messages/sms -d '{sms}'
  an e-mail        {post} {web}/api/messages/email -d '{mail}'
  a conversation   {post} {web}/api/messages/sms -d '{talk}'
                   curl -s {sandbox}/twilio/_inbound -d '{answer}'
                   {ask} '{web}/api/conversations?limit=1'
  messages         {ask} '{web}/api/messages?limit=5'
  sent messages    {sandbox}/ in a browser, or curl -s {sandbox}/received
  a failure        curl -s -X PUT {sandbox}/control -d '{fail}'

  API reference    {web}/docs
  Flower           http://127.0.0.1:{settings.flower_port}
"""
