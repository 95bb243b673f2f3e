"""The sandbox: plays providers on loopback, so that a first run needs no account anywhere.

    python -m sandbox [--http-port N] [--smtp-port N] [--no-magic-recipients]

It takes messages over HTTP (`POST /gateway`, any method at `/api/<anything>`) and SMTP, keeps
them, shows them (`GET /` for people, `GET /received` for programs), and passes nothing on.

Some recipients make it misbehave, to try what Postroom does then. Telephone numbers, and any
other recipient over HTTP, by their last four digits:

    0400  answers 400                        0503  always answers 503
    0429  answers 429, Retry-After 2 s       0099  never answers
    0500  answers 500 twice, then accepts    0098  answers after 5 s
    0097  accepts, then drops the connection (first try only)

and mail by its local part at any domain (what follows a + is ignored):

    reject@  550 5.1.1                       greylist@     451 4.7.1 on the first try
    slow@    accepts after 5 s               unavailable@  421 4.3.2 and closes
    hang@    never answers                   drop@         accepts, then drops the connection
                                                           (first try only)

Two numbers Twilio never reaches: +15005553003 (30003) and +15005553005 (30005).

Any other misbehaviour is set with `PUT /control`; see `sandbox/behaviour.py`.

From the environment: POSTROOM_SANDBOX_HTTP_PORT (8025), POSTROOM_SANDBOX_SMTP_PORT (2525),
POSTROOM_SANDBOX_HOST (127.0.0.1), POSTROOM_SANDBOX_KEY (what the gateway asks for; none).
"""

import argparse
import asyncio
import os
import signal
import sys

from sandbox.behaviour import Rules
from sandbox.http_app import HttpApp
from sandbox.http_server import Connection
from sandbox.providers.api import API, oauth_api
from sandbox.providers.fcm import fcm
from sandbox.providers.gateway import gateway
from sandbox.providers.m2m import m2m
from sandbox.providers.sba import SBA
from sandbox.providers.sendgrid import sendgrid
from sandbox.providers.twilio import TWILIO
from sandbox.received import Received
from sandbox.smtp_server import KIND as SMTP_KIND
from sandbox.smtp_server import smtp_connection


def main() -> None:
    """Runs the sandbox until SIGTERM or SIGINT."""
    options = _options()
    asyncio.run(_serve(options.http_port, options.smtp_port, magic=options.magic_recipients))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for protocol, usual in ("http", 8025), ("smtp", 2525):
        parser.add_argument(
            f"--{protocol}-port",
            type=_port,
            metavar="N",
            default=os.environ.get(f"POSTROOM_SANDBOX_{protocol.upper()}_PORT", str(usual)),
            help="0 picks a free one",
        )
    parser.add_argument(
        "--no-magic-recipients",
        dest="magic_recipients",
        action="store_false",
        help="treat all alike, as a bench that counts its numbers up needs it",
    )
    return parser.parse_args()


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise ValueError
    return port


async def _serve(http_port: int, smtp_port: int, *, magic: bool) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for signum in signal.SIGTERM, signal.SIGINT:
        loop.add_signal_handler(signum, stop.set)

    host = os.environ.get("POSTROOM_SANDBOX_HOST", "127.0.0.1")
    providers = [
        gateway(os.environ.get("POSTROOM_SANDBOX_KEY") or None),
        API,
        fcm(),
        oauth_api(),
        m2m(),
        SBA,
        sendgrid(),
        TWILIO,
    ]
    received = Received()
    rules = Rules([SMTP_KIND, *(provider.kind for provider in providers)], magic=magic)
    app = HttpApp(providers, received, rules)
    try:
        http = await loop.create_server(lambda: Connection(app), host, http_port)
        smtp = await loop.create_server(lambda: smtp_connection(received, rules), host, smtp_port)
    except OSError as error:
        sys.exit(f"sandbox: {error.strerror}")

    sys.stdout.write(f"sandbox ready: {_address('http', http)} {_address('smtp', smtp)}\n")
    sys.stdout.flush()
    await stop.wait()


def _address(scheme: str, server: asyncio.Server) -> str:
    host, port = server.sockets[0].getsockname()[:2]
    return f"{scheme}://{host}:{port}"


if __name__ == "__main__":
    main()
