"""What `postroom up` does: everything that Postroom needs, on this machine, until told to stop."""

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

from app import migrate
from app.agents import AgentsError, agents
from app.auth import tokens as auth
from app.db import transaction
from app.local.processes import Port, Process, processes
from app.local.servers import PostgresServer, Server, ServerError, ValkeyServer, write_private
from app.local.supervisor import supervise
from app.settings import Settings
from app.settings import settings as settings_of_this_process

PATIENCE_SECONDS = 30


class StartError(Exception):
    """Why nothing was started, for the operator to read."""


def up(settings: Settings) -> int:
    """Run PostgreSQL and Valkey, unless `DATABASE_URL` and `REDIS_URL` name others, and all
    processes of Postroom, until a signal. Returns the exit code: 0 where a signal ended it.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        settings.var.mkdir(parents=True, exist_ok=True)
        with _only_one(settings.var):
            return _up(settings)
    except (AgentsError, ServerError, StartError) as error:
        click.echo(f"postroom: {error}", err=True)
        return 1
    except KeyboardInterrupt:
        return 0


def _up(settings: Settings) -> int:
    agents()  # what is wrong with them is better said here than in the log of each process
    servers = _embedded_servers(settings)
    ground = [_process_of(server) for server in servers]
    *others, sandbox = processes(settings)
    _refuse_taken_ports([*ground, *others, sandbox])

    for server in servers:
        server.prepare()
    _publish_addresses(servers, settings.var / "env")
    with ExitStack() as running:
        for server in servers:
            running.callback(server.stop)
            server.start()
        _bring_database_up_to_date()
        _make_first_token(settings.var / "token")

    click.echo(f"Starting. Each process writes to {settings.var / 'log'}/<name>.log")
    return supervise(
        [[*ground, sandbox], others],
        settings.var,
        wait_until_ready=lambda: _wait_until_ready(f"{_web(settings)}/health/ready"),
        when_ready=lambda: click.echo(_welcome(settings)),
    )


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def _only_one(var: Path) -> Iterator[None]:
    """Hold `var` against a second `postroom up`. Raises StartError where one runs."""
    with (var / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError(f"another `postroom up` runs on {var.absolute()}") from None
        yield


def _embedded_servers(settings: Settings) -> list[Server]:
    """The servers to bring along: those whose address the environment does not give."""
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


def _refuse_taken_ports(wanted: Sequence[Process]) -> None:
    """Raises StartError naming each port that cannot be had, and who wants it."""
    faults = []
    with ExitStack() as held:  # all at once, so that two of ours on the same port show too
        for process in wanted:
            for port in process.ports:
                listener = held.enter_context(socket.socket())
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    listener.bind((port.host, port.number))
                    listener.listen()
                except OSError as error:
                    faults.append(
                        f"{process.name} cannot listen on {port.host}:{port.number} "
                        f"({error.strerror}); {port.variable} names another port"
                    )
    if faults:
        raise StartError("\n          ".join(faults))


def _publish_addresses(servers: Sequence[Server], path: Path) -> None:
    """Tell the processes, and other terminals through `path`, where the servers are."""
    addresses = {server.url_variable: server.url for server in servers}
    write_private(path, "".join(f"{name}={url}\n" for name, url in addresses.items()))
    os.environ.update(addresses)
    settings_of_this_process.cache_clear()


def _bring_database_up_to_date() -> None:
    try:
        migrate.upgrade()
    except OperationalError as error:
        raise StartError(f"the database cannot be brought up to date: {error.orig}") from None


def _make_first_token(path: Path) -> None:
    """Make a token with every scope, print it and keep it in `path`, where there is none yet."""
    with transaction() as connection:
        if auth.tokens(connection):
            return
        token = auth.create_token(connection, name="first", scopes=auth.SCOPES)
        write_private(path, token + "\n")
    click.echo(f"The first API token, kept in {path}: {token}")


def _wait_until_ready(url: str) -> None:
    """Return once `url` answers 200."""
    warn_at = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - it is our own, over HTTP
                return
        except (OSError, http.client.HTTPException) as error:
            if time.monotonic() > warn_at:
                click.echo(f"Not ready yet, {url} says: {error}")
                warn_at = float("inf")
        time.sleep(0.1)


def _web(settings: Settings) -> str:
    host = "127.0.0.1" if settings.host == "0.0.0.0" else settings.host  # noqa: S104 - compared
    return f"http://{host}:{settings.port}"


def _welcome(settings: Settings) -> str:
    web, token = _web(settings), settings.var / "token"
    ask = f'curl -s -H "Authorization: Bearer $(cat {token})"'
    post = f"{ask} -H 'Content-Type: application/json'"
    sms = '{"from": "+12016661234", "to": "+18045551234", "type": "sms", "body": "Hello"}'
    mail = '{"from": "me@example.com", "to": "you@example.com", "subject": "Hi", "body": "Hello"}'
    sandbox = f"http://127.0.0.1:{settings.sandbox_http_port}"
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
  what became      {ask} '{web}/api/messages?limit=5'
  what arrived     curl -s {sandbox}/received

  the API          {web}/docs
  the workers      http://127.0.0.1:{settings.flower_port} (Flower)
"""
