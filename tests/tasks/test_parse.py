"""The task that parses stored webhooks and e-mails, and what starts it."""

import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from app.agents import agents
from app.db import transaction
from app.inbound import unparsed
from connectors.base import RawMail

AGENTS = """
[agents.mail]
connector = "smtp"
settings = { host = "127.0.0.1", security = "plain" }
"""
MAIL = b"From: ann@example.com\nTo: hello@shop.example\nMessage-ID: <1@x>\n\nHi\n"


def store() -> None:
    with transaction() as connection:
        unparsed.store(connection, "mail", "default", RawMail(MAIL, len(MAIL)))


@pytest.fixture
def mail(agents_file: Path, queues: Any) -> Any:
    agents_file.write_text(AGENTS)
    agents.cache_clear()
    return queues


def test_task_parses_what_is_stored(mail: Any, connection: Connection) -> None:
    from tasks.parse import parse_inbound

    parse_inbound()
    store()
    parse_inbound()
    assert connection.execute(text("SELECT body FROM messages")).scalars().all() == ["Hi\n"]


def test_scan_loop_starts_the_task_when_something_is_stored(mail: Any) -> None:
    from tasks.notifications import Notifications
    from tasks.scan_loop import scan_until

    stopping = threading.Event()
    with Notifications() as notifications:
        store()
        loop = threading.Thread(target=scan_until, args=(stopping, notifications))
        loop.start()
        while loop.is_alive() and not mail.tasks("parse"):
            stopping.wait(0.02)
        stopping.set()
        loop.join()
    assert mail.tasks("parse") == [("parse", [])]
