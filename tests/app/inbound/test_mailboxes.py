"""Reading the mailboxes of an agent, from an IMAP server to parsed receipts and messages."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import ProgrammingError

from app import db, leases
from app.agents import Agents, agents
from app.inbound import mailboxes
from app.inbound.parse import parse_all
from tests.app.outbox.driver import Outbox
from tests.doubles.imap_server import CREDENTIALS, ImapServer, Session

AGENTS = """
[agents.mail]
connector = "smtp"
[agents.mail.settings]
host = "127.0.0.1"
security = "plain"
[agents.mail.profiles.default.settings.mailbox]
host = "127.0.0.1"
port = {port}
security = "plain"
username = '{username}'
password = '{password}'
[agents.mail.profiles.other.settings.mailbox]
host = "127.0.0.1"
port = {port}
security = "plain"
username = '{username}'
password = '{password}'
[agents.mail.profiles.without]

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


def mail(number: int, subject: str = "Hi", **headers: str) -> bytes:
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
def outbox(server: ImapServer, agents_file: Path, connection: Connection) -> Outbox:
    """The outbox of agents whose mailboxes are on the server."""
    agents_file.write_text(AGENTS.format(port=server.port, **CREDENTIALS))
    return Outbox(connection)


def read() -> int:
    """Read and parse; return how many e-mails were read."""
    count = mailboxes.read_mailboxes(agents(), "mail")
    parse_all(agents())
    return count


def subjects(outbox: Outbox) -> list[str]:
    found = outbox.execute("SELECT subject FROM messages WHERE direction = 'inbound' ORDER BY id")
    return [*found.scalars()]


def test_agents_with_a_mailbox_are_read(outbox: Outbox, loaded_agents: Agents) -> None:
    assert mailboxes.mailbox_agents(loaded_agents) == ["mail"]


def test_bounce_and_reply_are_matched_to_their_message(outbox: Outbox, server: ImapServer) -> None:
    sent = outbox.one(channel="email", agent="mail", recipient="ann@example.com")
    outbox.execute("UPDATE messages SET uid = :uid WHERE id = :id", uid=UID, id=sent)
    outbox.at(sent, "sent")
    uids = [
        server.put(BOUNCE),
        server.put(mail(1, In_Reply_To=f"<{UID}@shop.example>")),
        server.put(mail(2, "Out of office", Auto_Submitted="auto-replied")),
    ]
    assert read() == 3
    assert outbox.row(sent).status == "bounced"
    [entry] = outbox.execute("SELECT address, reason, message_id FROM suppressions").all()
    assert tuple(entry) == ("ann@example.com", "hard_bounce", sent)
    reply, automatic = outbox.execute(
        "SELECT parent_id, reason, agent, profile FROM messages"
        " WHERE direction = 'inbound' ORDER BY id"
    ).all()
    assert tuple(reply) == (sent, None, "mail", "default")
    assert tuple(automatic) == (None, "automatic reply", "mail", "default")
    assert all(server.flags(uid) == {"\\Seen"} for uid in uids)


def test_mail_that_could_not_be_marked_is_stored_once(
    outbox: Outbox, server: ImapServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.put(mail(1))
    server.put(BOUNCE)
    server.answers["STORE"] = Session.cut
    read()
    assert "agent mail: cannot read the mailbox of default: connection_failed" in caplog.text
    assert subjects(outbox) == ["Hi"]

    del server.answers["STORE"]
    read()
    assert subjects(outbox) == ["Hi"]
    assert outbox.execute("SELECT count(*) FROM receipts").scalar_one() == 1


def test_mail_stays_in_its_mailbox_while_it_cannot_be_stored(
    outbox: Outbox, server: ImapServer
) -> None:
    uid = server.put(mail(1))
    outbox.execute("ALTER TABLE unparsed_inbound RENAME TO renamed")
    try:
        with pytest.raises(ProgrammingError):
            read()
    finally:
        outbox.execute("ALTER TABLE renamed RENAME TO unparsed_inbound")
    assert server.flags(uid) == set()
    read()
    assert subjects(outbox) == ["Hi"]


@pytest.mark.parametrize(
    ("answer", "level", "reason"),
    [
        ("NO [AUTHENTICATIONFAILED] no", logging.ERROR, "login_refused"),
        ("NO [UNAVAILABLE] later", logging.WARNING, "login_unavailable"),
    ],
)
def test_mailbox_that_cannot_be_read_is_logged(
    outbox: Outbox,
    server: ImapServer,
    caplog: pytest.LogCaptureFixture,
    answer: str,
    level: int,
    reason: str,
) -> None:
    server.answers["LOGIN"] = answer
    assert read() == 0
    logged = [record for record in caplog.records if record.name == "app.inbound.mailboxes"]
    assert [record.levelno for record in logged] == [level, level], "one for each profile"
    assert all(reason in record.message for record in logged)


def test_mailbox_that_is_being_read_is_skipped(outbox: Outbox, server: ImapServer) -> None:
    server.put(mail(1))
    with leases.hold("mailbox mail/default"), leases.hold("mailbox mail/other"):
        assert read() == 0
        assert server.commands == []
    with leases.hold("mailbox mail/default"):
        assert read() == 1, "from the mailbox of the other profile"
    assert [subjects(outbox), server.commands.count("LOGOUT")] == [["Hi"], 1]


def test_no_connection_is_held_while_talking_to_the_server(
    outbox: Outbox, server: ImapServer
) -> None:
    held_by_test = db._autocommit_engine().pool.checkedout()
    held: list[int] = []

    def observe(session: Session) -> None:
        pools = (db.engine().pool, db._autocommit_engine().pool)
        held.append(sum(pool.checkedout() for pool in pools))
        del server.answers["greeting"]
        session.say("* OK ready")

    server.answers["greeting"] = observe
    read()
    assert held == [held_by_test]
