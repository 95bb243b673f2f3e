"""The parsing process is stopped when it takes too much, and the next mail is parsed."""

import sys
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

from app.inbound import parser
from app.inbound.parser import ParseError, Parser
from connectors.base import RawMail

AGENTS = """
[agents.mail]
connector = "smtp"
settings = { host = "127.0.0.1", security = "plain" }
"""


def test_hostile_content_ends_only_its_own_process(
    agents_file: Path, environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents_file.write_text(AGENTS)
    started = []

    def start(_: object, **options: Any) -> "Popen[bytes]":
        started.append(1)
        return Popen([sys.executable, "-m", "tests.app.inbound.bomb"], **options)

    monkeypatch.setattr(parser.subprocess, "Popen", start)
    monkeypatch.setattr(parser, "WALL_SECONDS", 3)
    rows = [
        ("cpu", "parsing takes more than 10 seconds of CPU time", 1),
        ("memory", "parsing takes more than 1024 MiB of memory", 2),
        ("error", "RuntimeError", 2),
        ("harmless", None, 2),
        ("sleep", "parsing takes more than 3 seconds", 2),
        ("harmless", None, 3),
    ]
    failures = []
    with Parser() as child:
        for content, expected, processes in rows:
            if content == "cpu":
                monkeypatch.setattr(parser, "WALL_SECONDS", 60)
            try:
                error = None
                child.parse("mail", "default", RawMail(content.encode(), 1))
            except ParseError as raised:
                error = str(raised)
            monkeypatch.setattr(parser, "WALL_SECONDS", 3)
            if (error, len(started)) != (expected, processes):
                failures.append((content, error, len(started)))
    assert not failures
