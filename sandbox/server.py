"""The command line of the sandbox, and its HTTP and SMTP servers."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence

from sandbox.api import API
from sandbox.behaviour import Rules
from sandbox.gateway import gateway
from sandbox.http import HttpApp, HttpConnection
from sandbox.provider import Provider
from sandbox.received import Received
from sandbox.smtp import KIND as SMTP_KIND
from sandbox.smtp import smtp_connection
from sandbox.twilio import TWILIO


def sandbox_providers() -> list[Provider]:
    """Return the HTTP providers that `make run` needs."""
    return [gateway(os.environ.get("POSTROOM_SANDBOX_KEY") or None), API, TWILIO]


def run(prog: str, description: str | None, providers: Sequence[Provider]) -> None:
    """Parse the command line, then serve `providers` and SMTP until SIGTERM or SIGINT."""
    options = _parse_arguments(prog, description)
    asyncio.run(
        _serve(providers, options.http_port, options.smtp_port, magic=options.magic_recipients)
    )


def _parse_arguments(prog: str, description: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=prog,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for protocol, default in ("http", 8025), ("smtp", 2525):
        parser.add_argument(
            f"--{protocol}-port",
            type=_port,
            metavar="N",
            default=os.environ.get(f"POSTROOM_SANDBOX_{protocol.upper()}_PORT", str(default)),
            help=f"port for {protocol.upper()}; 0 picks a free one (default: {default})",
        )
    parser.add_argument(
        "--no-magic-recipients",
        dest="magic_recipients",
        action="store_false",
        help="treat the recipients that fail by their name like any other",
    )
    return parser.parse_args()


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port. Use a number from 0 to 65535.")
    return int(text)


async def _serve(
    providers: Sequence[Provider], http_port: int, smtp_port: int, *, magic: bool
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for signum in signal.SIGTERM, signal.SIGINT:
        loop.add_signal_handler(signum, stop.set)

    host = os.environ.get("POSTROOM_SANDBOX_HOST", "127.0.0.1")
    received = Received()
    rules = Rules([SMTP_KIND, *(provider.kind for provider in providers)], magic=magic)
    app = HttpApp(providers, received, rules)
    try:
        http = await loop.create_server(lambda: HttpConnection(app.handle), host, http_port)
        smtp = await loop.create_server(lambda: smtp_connection(received, rules), host, smtp_port)
    except OSError as error:
        sys.exit(f"sandbox: {error.strerror}")

    # sandbox/client.py waits for this line and reads the ports from it.
    sys.stdout.write(f"sandbox ready: {_address('http', http)} {_address('smtp', smtp)}\n")
    sys.stdout.flush()
    await stop.wait()


def _address(scheme: str, server: asyncio.Server) -> str:
    host, port = server.sockets[0].getsockname()[:2]
    return f"{scheme}://{host}:{port}"
