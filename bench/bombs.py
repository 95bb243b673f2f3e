"""How much submissions are delayed while hostile e-mails arrive by webhook.

One web and one worker process serve both. The e-mails take as long to parse as the limits allow.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from sqlalchemy import text

from app.db import transaction
from bench.client import Client, submit_paced
from bench.figures import Figure, percentiles
from bench.stack import running_stack, wait_until

EACH_SECOND = 20
WARM_UP = 60
MESSAGES = 300
CONNECTIONS = 8
BOMB_PAUSE_SECONDS = 0.5
BOMB_BYTES = 1_000_000
MAX_RATIO = 2.0

AGENT = """
[agents.mail]
connector = "sendgrid"
[agents.mail.settings]
api_key = "key-of-the-benchmark"
inbound_username = "bench"
inbound_passwords = ["bench"]
"""
PATH = "/api/webhooks/mail/inbound"
HEADERS = {
    "Authorization": "Basic YmVuY2g6YmVuY2g=",
    "Content-Type": "multipart/form-data; boundary=form",
}
MAILS = (
    b'Content-Type: text/plain; a="' + b";" * BOMB_BYTES + b'"\r\n\r\n',
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\n" * (BOMB_BYTES // 7),
    b"From: " + b"<" * 60_000 + b"\r\nTo: " + b"a:b@c;" * 10_000 + b"\r\n\r\nHi",
    b"Content-Type: text/plain; charset=utf-7\r\n\r\n" + b"+AGE-+" * (BOMB_BYTES // 6),
)


def measure() -> list[Figure]:
    with running_stack(further_agents=AGENT) as stack:
        stack.run("worker", "app.local.processes", "worker")
        token = stack.run_web()
        _p95(token, range(WARM_UP))
        usual = _p95(token, range(WARM_UP, WARM_UP + MESSAGES))
        with _bombs():
            meanwhile = _p95(token, range(WARM_UP + MESSAGES, WARM_UP + 2 * MESSAGES))
        wait_until(_all_parsed, "all e-mails are parsed")
    name = f"submission, {EACH_SECOND} a second: p95"
    return [
        Figure(measure=name, value=usual, unit="ms"),
        Figure(measure="  while hostile e-mails arrive", value=meanwhile, unit="ms"),
        Figure(measure="  ratio of the two", value=meanwhile / usual, at_most=MAX_RATIO),
    ]


def _p95(token: str, numbers: range) -> float:
    """Return the 95th percentile of the time until the response, in milliseconds."""
    answered = asyncio.run(submit_paced(token, numbers, EACH_SECOND, CONNECTIONS))
    [p95] = percentiles([1000 * (end - due) for due, end in answered], 95)
    return p95


@contextmanager
def _bombs() -> Iterator[None]:
    """Post hostile e-mails during the block."""
    stopping = Event()
    thread = Thread(target=lambda: asyncio.run(_post(stopping)))
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


async def _post(stopping: Event) -> None:
    client = await Client.connect()
    number = 0
    while not stopping.is_set():
        await client.post(PATH, HEADERS, _form(MAILS[number % len(MAILS)]))
        number += 1
        await asyncio.sleep(BOMB_PAUSE_SECONDS)
    client.close()


def _form(mail: bytes) -> bytes:
    envelope = json.dumps({"from": "a@example.com", "to": ["b@example.com"]}).encode()
    parts = (("envelope", envelope), ("email", mail))
    return (
        b"".join(
            b'--form\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
            % (name.encode(), content)
            for name, content in parts
        )
        + b"--form--\r\n"
    )


def _all_parsed() -> bool:
    with transaction() as connection:
        statement = "SELECT NOT EXISTS (SELECT FROM unparsed_inbound WHERE error IS NULL)"
        return bool(connection.execute(text(statement)).scalar_one())
