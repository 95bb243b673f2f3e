from collections.abc import Iterator
from typing import Any

import pytest

from connectors.base import Inbound, Misconfigured, RawMail, Receipt, SendError, Unavailable
from connectors.smtp.connector import Smtp
from connectors.smtp.settings import SmtpSettings
from tests.doubles.imap_server import CREDENTIALS, ImapServer, Session
from tests.doubles.smtp_authority import Authority
from tests.servers import free_port

UID = "0190f3c2-7a30-7e52-a0cd-6a3c5d0b2f11"
BOUNCE = (
    f"To: bounces+{UID}@shop.example\nMessage-ID: <b@x>\n"
    "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n"
    "--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; x\n\n"
    "Final-Recipient: rfc822; ann@example.com\nAction: failed\nStatus: 5.1.1\n--b--\n"
).encode()


def reply(number: int) -> bytes:
    return f"From: ann@example.com\nMessage-ID: <{number}@x>\n\nHello {number}\n".encode()


class Store(list[Receipt | Inbound]):
    """Parses each mail, and holds what it contains."""

    def __call__(self, mail: RawMail) -> None:
        self.extend(reader(1).parse_mail(mail))

    @property
    def texts(self) -> list[str]:
        return [item.body.strip() for item in self if isinstance(item, Inbound)]


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture(scope="module")
def plain_server() -> Iterator[ImapServer]:
    server = ImapServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def server(plain_server: ImapServer) -> ImapServer:
    """An IMAP server without TLS, with empty folders."""
    plain_server.reset()
    return plain_server


def reader(port: int, **settings: Any) -> Smtp:
    defaults = {"host": "127.0.0.1", "port": port, "security": "plain", **CREDENTIALS}
    return Smtp(SmtpSettings(host="127.0.0.1", security="plain", mailbox={**defaults, **settings}))


def failure(connector: Smtp) -> SendError:
    with pytest.raises(SendError) as caught:
        connector.read_mailboxes(Store())
    return caught.value


def test_unread_mail_is_stored_in_order_and_marked_as_read(
    server: ImapServer, store: Store
) -> None:
    first, bounce, last = server.put(reply(1)), server.put(BOUNCE), server.put(reply(2))
    server.put(reply(3), "\\Seen")
    server.put(reply(4), "\\Deleted")
    server.folders["INBOX"] = dict(reversed(server.folders["INBOX"].items()))

    reader(server.port).read_mailboxes(store)

    assert store.texts == ["Hello 1", "Hello 2"]
    [receipt] = [item for item in store if isinstance(item, Receipt)]
    assert (receipt.kind, receipt.message_uid, receipt.suppress) == ("bounced", UID, True)
    assert all(server.flags(uid) == {"\\Seen"} for uid in (first, bounce, last))
    assert server.commands[-1] == "LOGOUT"

    reader(server.port).read_mailboxes(store)
    assert len(store) == 3


def test_stored_mail_is_marked_moved_or_deleted(server: ImapServer) -> None:
    for settings, inbox, other in [
        ({}, [8, 9], []),
        ({"move_to": "Gelöscht"}, [9], [8]),
        ({"delete": True}, [9], []),
        ({"folder": "Gelöscht", "move_to": "INBOX"}, [8, 9], []),
    ]:
        server.reset()
        server.folders["Gel&APY-scht"] = {}
        server.put(reply(1))
        server.put(reply(2), "\\Seen", "\\Deleted")
        reader(server.port, **settings).read_mailboxes(Store())
        assert sorted(server.folders["INBOX"]) == inbox, settings
        assert sorted(server.folders["Gel&APY-scht"]) == other, settings


def test_mail_is_marked_only_after_it_is_stored(server: ImapServer) -> None:
    uid = server.put(reply(1))
    flags = []
    reader(server.port).read_mailboxes(lambda _: flags.append(server.flags(uid).copy()))
    assert flags == [set()]
    assert server.flags(uid) == {"\\Seen"}


def test_error_of_the_store_ends_the_round_and_marks_nothing(server: ImapServer) -> None:
    uid = server.put(reply(1))

    def fail(mail: RawMail) -> None:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        reader(server.port).read_mailboxes(fail)
    assert server.flags(uid) == set()


def test_mail_that_could_not_be_marked_is_read_again_with_the_same_key(
    server: ImapServer, store: Store
) -> None:
    server.put(reply(1))
    server.answers["STORE"] = Session.cut
    with pytest.raises(Unavailable):
        reader(server.port).read_mailboxes(store)
    del server.answers["STORE"]
    reader(server.port).read_mailboxes(store)
    first, second = store
    assert first.key == second.key


def test_round_reads_a_limited_number_of_messages(server: ImapServer, store: Store) -> None:
    for number in range(5):
        server.put(reply(number))
    for expected in (2, 4, 5):
        reader(server.port, messages_per_round=2).read_mailboxes(store)
        assert len(store) == expected
    assert store.texts == [f"Hello {number}" for number in range(5)]


def test_long_mail_is_truncated_and_not_deleted(server: ImapServer, store: Store) -> None:
    content = reply(1) + b"." * 5000
    uid = server.put(content)
    server.put(BOUNCE + b"." * 5000)
    reader(server.port, message_limit_bytes=400, delete=True).read_mailboxes(store)
    mail, bounce = store
    assert isinstance(mail, Inbound)
    assert mail.metadata == {"size_bytes": len(content), "read_bytes": 400}
    assert len(mail.body) < 400
    assert isinstance(bounce, Receipt)
    assert server.flags(uid) == {"\\Seen"}


def test_mail_that_disappears_during_the_round_is_skipped(server: ImapServer, store: Store) -> None:
    _, gone, _ = server.put(reply(1)), server.put(reply(2)), server.put(reply(3))

    def store_and_remove(mail: RawMail) -> None:
        server.folders["INBOX"].pop(gone, None)
        store(mail)

    reader(server.port).read_mailboxes(store_and_remove)
    assert store.texts == ["Hello 1", "Hello 3"]


def test_server_certificate_is_verified_before_the_login(start: Any, authority: Authority) -> None:
    for security in ("tls", "starttls"):
        server = start(
            ImapServer(
                tls=authority.server(), implicit=security == "tls", offers="IMAP4rev1 STARTTLS"
            )
        )
        server.put(reply(1))
        error = failure(reader(server.port, security=security))
        assert (type(error), error.code) == (Unavailable, "tls_failed")
        assert not any("LOGIN" in command for command in server.commands)

        store = Store()
        reader(server.port, security=security, ca_file=authority.file).read_mailboxes(store)
        assert store.texts == ["Hello 1"]


def test_failures_are_classified_and_do_not_reveal_the_password(server: ImapServer) -> None:
    failures = []
    for settings, answers, expected in [
        ({"security": "starttls"}, {}, (Misconfigured, "no_starttls")),
        ({"password": "wrong-one"}, {}, (Misconfigured, "login_refused")),
        ({}, {"LOGIN": "NO [UNAVAILABLE] later"}, (Unavailable, "login_unavailable")),
        ({}, {"LOGIN": "BAD what"}, (Misconfigured, "login_refused")),
        ({}, {"LOGIN": Session.cut}, (Unavailable, "connection_failed")),
        ({"folder": "Nowhere"}, {}, (Misconfigured, "refused")),
        ({"move_to": "Nowhere"}, {}, (Misconfigured, "refused")),
        ({}, {"greeting": "BYE too many"}, (Unavailable, "protocol_error")),
        ({}, {"greeting": "SSH-2.0"}, (Unavailable, "protocol_error")),
        ({}, {"greeting": Session.cut}, (Unavailable, "connection_failed")),
        ({}, {"SELECT": Session.cut}, (Unavailable, "connection_failed")),
        ({}, {"SELECT": Session.read_only}, (Misconfigured, "read_only")),
        ({}, {"SEARCH": "BAD what"}, (Misconfigured, "refused")),
        ({}, {"FETCH": Session.invalid_fetch}, (Unavailable, "protocol_error")),
        ({}, {"FETCH": "NO not now"}, (Misconfigured, "refused")),
        ({}, {"STORE": "NO not yours"}, (Misconfigured, "refused")),
        ({"read_timeout_seconds": 0.2}, {"FETCH": lambda _: None}, (Unavailable, "timed_out")),
        ({"total_timeout_seconds": 0.5}, {"FETCH": Session.drip}, (Unavailable, "timed_out")),
    ]:  # fmt: skip
        server.reset()
        server.answers = answers
        uid = server.put(reply(1))
        error = failure(reader(server.port, **settings))
        is_expected = (type(error), error.code) == expected and "wrong-one" not in str(error)
        if not is_expected or server.flags(uid):
            failures.append((settings, answers, error, server.flags(uid)))
    assert not failures


def test_required_extension_is_checked_before_anything_is_read(
    server: ImapServer, store: Store
) -> None:
    for settings, code in [({"move_to": "Done"}, "no_move"), ({"delete": True}, "no_uidplus")]:
        server.reset()
        server.offers = "IMAP4rev1"
        server.put(reply(1))
        error = failure(reader(server.port, **settings))
        assert (type(error), error.code) == (Misconfigured, code)
        assert not any("FETCH" in command for command in server.commands)

        server.offers = "IMAP4rev1 IMAP4rev2"
        reader(server.port, **settings).read_mailboxes(store)
    assert store.texts == ["Hello 1", "Hello 1"]


def test_unreachable_server_is_unavailable() -> None:
    error = failure(reader(free_port()))
    assert (type(error), error.code) == (Unavailable, "connection_refused")


def test_connector_without_a_mailbox_reads_none(store: Store) -> None:
    assert reader(993).has_mailboxes
    without = Smtp(SmtpSettings(host="mx.example.net"))
    assert not without.has_mailboxes
    without.read_mailboxes(store)
    assert store == []
