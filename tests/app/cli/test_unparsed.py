"""`postroom unparsed`."""

import json
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from app.inbound import unparsed
from connectors.base import RawMail
from tests.app.cli.conftest import Postroom


@pytest.fixture
def failed(connection: Connection) -> None:
    """A stored mail that could not be parsed, and one that is still to be parsed."""
    for content in (b"bomb", b"other"):
        unparsed.store(connection, "mail", "default", RawMail(content, len(content)))
    connection.execute(text("UPDATE unparsed_inbound SET error = 'too slow' WHERE id = 1"))


def test_what_could_not_be_parsed_is_listed_saved_and_retried(
    postroom: Postroom, failed: None, tmp_path: Path
) -> None:
    [listed] = json.loads(postroom("unparsed", "list", "--json").stdout)
    assert listed.pop("received_at")
    assert listed == {
        "id": 1, "agent": "mail", "profile": "default", "kind": "mailbox", "size_bytes": 4,
        "error": "too slow",
    }  # fmt: skip
    assert "too slow" in postroom("unparsed", "list").stdout
    assert "1 webhooks and e-mails could not be parsed" in postroom("status").stdout

    file = tmp_path / "mail.eml"
    assert postroom("unparsed", "save", 1, file).stdout == f"Saved 4 bytes to {file}.\n"
    assert file.read_bytes() == b"bomb"

    assert postroom("unparsed", "retry", 1).stdout == "1 will be parsed again.\n"
    assert postroom("unparsed", "list", "--json").stdout == "[]\n"
    for command in (("save", 9, tmp_path / "new"), ("retry", 1)):
        assert postroom("unparsed", *command).exit_code == 3, command
