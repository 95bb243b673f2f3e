"""The round through the mailboxes of an agent, from an IMAP server to the inbox."""

import logging
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from app import db
from app.agents import agents
from app.inbound.mailboxes import MAX_FAILURES, TRY_LOCK, UNLOCK
from tests.app.outbox.driver import Outbox
from tests.doubles.imap_server import CREDENTIALS, ImapServer, Session

ROOT = Path(__file__).parents[2]
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
[agents.mail.profiles.default]
[agents.mail.profiles.other.settings]
sender = "other@shop.example"

[agents.silent]
connector = "smtp"
settings = {{ host = "127.0.0.1", security = "plain" }}
"""
UID = "0190f3c2-7a30-7e52-a0cd-6a3c5d0b2f11"
BOUNCE = (
    f"To: bounces+{UID}@shop.example\nMessage-ID: <b@x>\n"
    "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n"
    "--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; x\n\n"
    "Final-Recipient: rfc822; ann@example.com\nAction: failed\nStatus: 5.1.1\n--b--\n"
).encode()


def letter(number: int, subject: str = "Hi", **headers: str) -> bytes:
    lines = [f"{name.replace('_', '-')}: {value}\n" for name, value in headers.items()]
    return (
        f"From: ann@example.com\nTo: hello@shop.example\nMessage-ID: <{number}@x>\n"
        f"Subject: {subject}\n{''.join(lines)}\nSecret {number}\n"
    ).encode()


@pytest.fixture
def server() -> Iterator[ImapServer]:
    server = ImapServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def collect(server: ImapServer, agents_file: Path, queues: Any) -> Any:
    agents_file.write_text(AGENTS.format(port=server.port, **CREDENTIALS))
    agents.cache_clear()
    from tasks.mailboxes import collect

    return collect


@pytest.fixture
def outbox(connection: Connection) -> Outbox:
    return Outbox(connection)


def subjects(outbox: Outbox) -> list[str]:
    found = outbox.execute("SELECT subject FROM messages WHERE direction = 'inbound' ORDER BY id")
    return [*found.scalars()]


def test_a_bounce_and_a_reply_find_the_message_they_are_of(
    collect: Any, server: ImapServer, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    sent = outbox.one(channel="email", agent="mail", recipient="ann@example.com")
    outbox.execute("UPDATE messages SET uid = :uid WHERE id = :id", uid=UID, id=sent)
    outbox.at(sent, "sent")
    mails = [
        server.put(BOUNCE),
        server.put(letter(1, In_Reply_To=f"<{UID}@shop.example>")),
        server.put(letter(2, "Out of office", Auto_Submitted="auto-replied")),
    ]
    caplog.set_level(logging.INFO)

    collect("mail")

    assert outbox.row(sent).status == "bounced"
    [entry] = outbox.execute("SELECT address, reason, message_id FROM suppressions").all()
    assert tuple(entry) == ("ann@example.com", "hard_bounce", sent)
    reply, automatic = outbox.execute(
        "SELECT parent_id, reason, agent, profile FROM messages"
        " WHERE direction = 'inbound' ORDER BY id"
    ).all()
    assert tuple(reply) == (sent, None, "mail", "default")
    assert tuple(automatic) == (None, "an automatic reply", "mail", "default")
    assert all(server.flags(uid) == {"\\Seen"} for uid in mails)
    assert "agent mail collected 3 new receipts and messages" in caplog.text


def test_a_mail_that_could_not_be_marked_is_kept_once(
    collect: Any, server: ImapServer, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    server.put(letter(1))
    server.put(BOUNCE)
    server.answers["STORE"] = Session.cut
    collect("mail")
    assert "agent mail cannot collect: disconnected" in caplog.text
    assert subjects(outbox) == ["Hi"]

    del server.answers["STORE"]
    collect("mail")
    assert subjects(outbox) == ["Hi"]
    assert outbox.execute("SELECT count(*) FROM receipts").scalar_one() == 1


@pytest.fixture
def refusing(connection: Connection) -> Iterator[None]:
    """A database that does not take one kind of message."""
    connection.execute(
        text("ALTER TABLE messages ADD CONSTRAINT picky CHECK (subject <> 'poison')")
    )
    yield
    connection.execute(text("ALTER TABLE messages DROP CONSTRAINT IF EXISTS picky"))


def test_a_mail_that_cannot_be_kept_stays_and_holds_up_no_other(
    refusing: None, collect: Any, server: ImapServer, outbox: Outbox,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    poison, good = server.put(letter(1, "poison")), server.put(letter(2))
    collect("mail")
    assert subjects(outbox) == ["Hi"]
    assert (server.flags(poison), server.flags(good)) == (set(), {"\\Seen"})
    assert "agent mail cannot keep what it collected" in caplog.text

    outbox.execute("ALTER TABLE messages DROP CONSTRAINT picky")
    collect("mail")
    assert subjects(outbox) == ["Hi", "poison"]


def test_a_round_ends_where_nothing_can_be_kept(
    refusing: None, collect: Any, server: ImapServer
) -> None:
    mails = [server.put(letter(number, "poison")) for number in range(MAX_FAILURES + 3)]
    with pytest.raises(Exception, match="picky"):
        collect("mail")
    fetched = [line for line in server.commands if line.startswith("UID FETCH")]
    assert len(fetched) == MAX_FAILURES + 1
    assert not any(server.flags(uid) for uid in mails)


@pytest.mark.parametrize(
    ("answer", "level", "why"),
    [
        ("NO [AUTHENTICATIONFAILED] no", "ERROR", "login_refused"),
        ("NO [UNAVAILABLE] later", "WARNING", "login_unavailable"),
    ],
)
def test_a_mailbox_that_cannot_be_read_is_told_of(
    answer: str, level: str, why: str, collect: Any, server: ImapServer,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    server.answers["LOGIN"] = answer
    collect("mail")
    told = [record for record in caplog.records if record.name == "app.inbound.mailboxes"]
    assert {record.levelname for record in told} == {level}
    assert all(f"agent mail cannot collect: {why}" in record.message for record in told)


def test_a_round_does_not_begin_while_another_process_is_at_it(
    collect: Any, server: ImapServer, outbox: Outbox
) -> None:
    server.put(letter(1))
    with db.autocommit() as other:
        assert other.execute(TRY_LOCK, {"agent": "mail"}).scalar_one()
        collect("mail")
        assert server.commands == []
        other.execute(UNLOCK, {"agent": "mail"})
    for _ in range(2):
        collect("mail")
    assert subjects(outbox) == ["Hi"]
    assert server.commands.count("LOGOUT") == 4, "both profiles, in both rounds"


def test_beat_asks_for_a_round_of_each_agent_that_has_a_mailbox(collect: Any) -> None:
    import tasks

    assert "tasks.mailboxes" in tasks.celery.conf.include
    configured = runpy.run_path(str(ROOT / "celeryconfig.py"))
    rounds = [entry for entry in configured["beat_schedule"].values() if entry["task"] == "collect"]
    assert [entry["args"] for entry in rounds] == [("mail",)]
    assert "collect" in {queue.name for queue in configured["task_queues"]}
    assert configured["task_routes"]["collect"] == {"queue": "collect"}
