"""The task that reads the mailboxes of an agent."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.agents import agents
from tests.doubles.imap_server import CREDENTIALS, ImapServer

AGENTS = """
[agents.mail]
connector = "smtp"
[agents.mail.settings]
host = "127.0.0.1"
security = "plain"
[agents.mail.settings.mailbox]
host = "127.0.0.1"
port = {port}
security = "plain"
username = '{username}'
password = '{password}'

[agents.silent]
connector = "smtp"
settings = {{ host = "127.0.0.1", security = "plain" }}
"""


@pytest.fixture
def server() -> Iterator[ImapServer]:
    server = ImapServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def read_mailboxes(server: ImapServer, agents_file: Path, queues: Any) -> Any:
    agents_file.write_text(AGENTS.format(port=server.port, **CREDENTIALS))
    agents.cache_clear()
    from tasks.mailboxes import read_mailboxes

    return read_mailboxes


def test_task_reads_the_mailboxes_of_its_agent(
    read_mailboxes: Any, server: ImapServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.put(b"From: ann@example.com\nTo: hello@shop.example\nMessage-ID: <1@x>\n\nHi\n")
    caplog.set_level(logging.INFO)
    read_mailboxes("mail")
    assert "agent mail: 1 e-mails read from its mailboxes" in caplog.text


def test_each_round_starts_a_task_for_each_agent_with_mailboxes(
    read_mailboxes: Any, queues: Any
) -> None:
    from tasks.mailboxes import read_all_mailboxes

    read_all_mailboxes()
    assert queues.tasks("mailboxes") == [("read_mailboxes", ["mail"])]
