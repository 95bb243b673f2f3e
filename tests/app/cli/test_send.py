"""`postroom send`."""

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from app import db
from app.outbox.cancel import cancel
from tests.app.cli.conftest import Postroom, check_exit_codes

SMS = ("send", "--channel", "sms", "--to", "+1 804 555 1234", "--body", "Hello")
EMAIL = ("send", "--channel", "email", "--to", "you@example.com")


def row(connection: Connection, message_id: int) -> dict[str, object]:
    found = connection.execute(text("SELECT * FROM messages WHERE id = :id"), {"id": message_id})
    return dict(found.mappings().one())


def test_message_is_stored_with_all_its_fields(
    postroom: Postroom, connection: Connection, tmp_path: Path
) -> None:
    file = tmp_path / "invoice.pdf"
    file.write_bytes(b"%PDF\x00\xff")
    tomorrow = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    result = postroom(
        *EMAIL, "--from", "me@example.com", "--subject", "Hi", "--body", "Hello",
        "--html", "<p>Hello</p>", "--agent", "smtp", "--profile", "default", "--priority", "high",
        "--send-at", tomorrow.isoformat(), "--reference", "order-7", "--attach", file, "--json",
    )  # fmt: skip
    assert (result.exit_code, result.stderr) == (0, "")
    answer = json.loads(result.stdout)
    stored = row(connection, answer["id"])
    assert answer == {
        "id": stored["id"],
        "status": "outbox",
        "conversation_id": stored["conversation_id"],
        "reference": "order-7",
    }
    expected = {
        "channel": "email", "agent": "smtp", "profile": "default", "status": "outbox",
        "sender": "me@example.com", "recipient": "you@example.com", "subject": "Hi",
        "body": "Hello", "html": "<p>Hello</p>", "priority": 1, "due_at": tomorrow,
        "submitted_by": "postroom command",
    }  # fmt: skip
    assert {name: stored[name] for name in expected} == expected
    [attachment] = connection.execute(text("SELECT name, content_type, content FROM attachments"))
    assert (attachment.name, attachment.content_type) == ("invoice.pdf", "application/pdf")
    assert bytes(attachment.content) == b"%PDF\x00\xff"


def test_recipient_is_normalised_and_the_body_is_read_from_stdin(
    postroom: Postroom, connection: Connection
) -> None:
    words = [word if word != "Hello" else "-" for word in SMS]
    result = postroom(*words, "--priority", "3", input="Hello\nthere\n")
    assert result.stdout == "Message 1 is in the outbox, for agent gateway.\n"
    stored = row(connection, 1)
    assert (stored["recipient"], stored["body"], stored["priority"]) == (
        "+18045551234",
        "Hello\nthere",
        3,
    )


def test_rejected_message_names_its_field_and_is_not_stored(
    postroom: Postroom, connection: Connection
) -> None:
    failures = check_exit_codes(
        postroom,
        [
            ((*SMS, "--agent", "pigeon"), 1, "postroom: agent: no such agent"),
            ((*SMS, "--agent", "smtp"), 1, "postroom: agent: does not serve sms"),
            ((*SMS, "--html", "<p>"), 1, "postroom: html: "),
            ((*SMS, "--send-at", "tomorrow"), 1, "postroom: send_at: "),
            ((*SMS, "--send-at", "2099-01-01T00:00:00Z"), 1, "postroom: send_at: "),
            ((*SMS, "--subject", "a\nb"), 1, "postroom: subject: must not contain CR, LF"),
            (("send", "--channel", "sms", "--to", "12", "--body", "x"), 1, "postroom: to: "),
            (("send", "--channel", "fax", "--to", "1"), 2, "Invalid value for '--channel'"),
            (("send", "--channel", "sms"), 2, "Missing option '--to'"),
            ((*EMAIL, "--attach", "/no/such/file"), 2, "does not exist"),
        ],
    )
    assert not failures
    assert connection.execute(text("SELECT count(*) FROM messages")).scalar_one() == 0


@pytest.mark.parametrize(
    ("end", "exit_code", "stderr"),
    [
        ("UPDATE messages SET status = 'sent', finished_at = now(), reason = 'by hand'", 0, ""),
        (
            "UPDATE messages SET status = 'failed', finished_at = now(), reason = 'no such number'",
            1,
            "postroom: message 1: failed: no such number\n",
        ),
    ],
)
def test_wait_prints_each_event_and_fails_unless_the_message_is_sent(
    postroom: Postroom, database: str, end: str, exit_code: int, stderr: str
) -> None:
    def finish() -> None:
        with db.autocommit() as connection:
            accepted = "SELECT count(*) FROM messages"
            while connection.execute(text(accepted)).scalar_one() == 0:
                stop.wait(0.01)
            connection.execute(text(end))

    stop = threading.Event()
    worker = threading.Thread(target=finish)
    worker.start()
    result = postroom(*SMS, "--wait", "--json")
    worker.join()
    assert (result.exit_code, result.stderr) == (exit_code, stderr)
    stored, *events = map(json.loads, result.stdout.splitlines())
    assert stored["id"] == 1
    assert [event["to_status"] for event in events] == ["outbox", end.split("'")[1]]
    assert events[0].keys() == {"from_status", "to_status", "reason", "happened_at"}


def test_wait_shows_that_the_message_was_cancelled(
    postroom: Postroom, database: str, status_of: Callable[[int], str]
) -> None:
    def cancel_message() -> None:
        while True:
            with db.transaction() as connection:
                if cancel(connection, [1]):
                    return
            pause.wait(0.01)

    pause = threading.Event()
    thread = threading.Thread(target=cancel_message)
    thread.start()
    result = postroom(*SMS, "--wait")
    thread.join()
    assert result.exit_code == 1
    assert [line.split("Z  ")[-1] for line in result.stdout.splitlines()] == [
        "Message 1 is in the outbox, for agent gateway.",
        "outbox  (accepted)",
        "cancelled  (cancelled by an operator)",
    ]
    assert status_of(1) == "cancelled"
