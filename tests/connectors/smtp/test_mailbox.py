"""The mailbox: read over IMAP, and marked only once what it held is kept."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.base import Inbound, Misconfigured, Receipt, Unavailable
from connectors.smtp.connector import Smtp, SmtpSettings
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


def letter(number: int) -> bytes:
    return f"From: ann@example.com\nMessage-ID: <{number}@x>\n\nHello {number}\n".encode()


class Kept(list[Receipt | Inbound]):
    """What was given to it. `refuse` holds the texts that it does not keep."""

    def __init__(self) -> None:
        self.refuse: set[str] = set()

    def __call__(self, items: Sequence[Receipt | Inbound]) -> bool:
        if any(isinstance(item, Inbound) and item.body in self.refuse for item in items):
            return False
        self.extend(items)
        return True

    @property
    def texts(self) -> list[str]:
        return [item.body.strip() for item in self if isinstance(item, Inbound)]


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def serve(start: Any) -> Callable[..., ImapServer]:
    return lambda **options: start(ImapServer(**options))


def reader(server: Any, **settings: Any) -> Smtp:
    usual = {"host": "127.0.0.1", "port": server.port, "security": "plain", **CREDENTIALS}
    return Smtp(SmtpSettings(host="127.0.0.1", security="plain", mailbox={**usual, **settings}))


def test_what_is_unread_is_kept_and_marked_the_oldest_first(serve: Any, kept: Kept) -> None:
    server = serve()
    first, bounce, last = server.put(letter(1)), server.put(BOUNCE), server.put(letter(2))
    server.put(letter(3), "\\Seen")
    server.put(letter(4), "\\Deleted")
    server.folders["INBOX"] = dict(reversed(server.folders["INBOX"].items()))

    reader(server).read_mailboxes(kept)

    assert kept.texts == ["Hello 1", "Hello 2"]
    [receipt] = [item for item in kept if isinstance(item, Receipt)]
    assert (receipt.kind, receipt.message_uid, receipt.suppress) == ("bounced", UID, True)
    assert all(server.flags(uid) == {"\\Seen"} for uid in (first, bounce, last))
    assert server.commands[-1] == "LOGOUT"

    reader(server).read_mailboxes(kept)
    assert len(kept) == 3


@pytest.mark.parametrize(
    ("settings", "inbox", "done"),
    [
        ({}, [8, 9], []),
        ({"move_to": "Done"}, [9], [8]),
        ({"delete": True}, [9], []),
        ({"folder": "Done", "move_to": "INBOX"}, [8, 9], []),
    ],
)
def test_what_is_kept_is_marked_moved_or_deleted(
    settings: Any, inbox: Any, done: Any, serve: Any, kept: Kept
) -> None:
    server = serve()
    server.put(letter(1))
    server.put(letter(2), "\\Seen", "\\Deleted")
    reader(server, **settings).read_mailboxes(kept)
    assert sorted(server.folders["INBOX"]) == inbox
    assert sorted(server.folders["Done"]) == done


def test_nothing_is_marked_before_it_is_kept(serve: Any) -> None:
    server = serve()
    uid = server.put(letter(1))
    flags = []
    reader(server).read_mailboxes(lambda items: not flags.append(server.flags(uid).copy()))
    assert flags == [set()]
    assert server.flags(uid) == {"\\Seen"}


def test_what_is_not_kept_stays_and_the_others_do_not_wait_for_it(serve: Any, kept: Kept) -> None:
    server = serve()
    refused, taken = server.put(letter(1)), server.put(letter(2))
    kept.refuse = {"Hello 1\n"}
    reader(server).read_mailboxes(kept)
    assert (server.flags(refused), server.flags(taken)) == (set(), {"\\Seen"})

    kept.refuse = set()
    reader(server).read_mailboxes(kept)
    assert kept.texts == ["Hello 2", "Hello 1"]


def test_what_fails_to_keep_ends_the_round_and_marks_nothing(serve: Any) -> None:
    server = serve()
    uid = server.put(letter(1))

    def fail(items: Any) -> bool:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        reader(server).read_mailboxes(fail)
    assert server.flags(uid) == set()


def test_a_mail_that_could_not_be_marked_comes_again_as_the_same(serve: Any, kept: Kept) -> None:
    server = serve()
    server.put(letter(1))
    server.answers["STORE"] = Session.cut
    with pytest.raises(Unavailable):
        reader(server).read_mailboxes(kept)
    del server.answers["STORE"]
    reader(server).read_mailboxes(kept)
    first, again = kept
    assert first.key == again.key


def test_a_round_has_an_end(serve: Any, kept: Kept) -> None:
    server = serve()
    for number in range(5):
        server.put(letter(number))
    for _ in range(3):
        reader(server, mails_per_round=2).read_mailboxes(kept)
        assert len([line for line in server.commands if "FETCH" in line]) <= 2
        server.commands.clear()
    assert kept.texts == [f"Hello {number}" for number in range(5)]


def test_a_long_mail_is_cut_and_stays(serve: Any, kept: Kept) -> None:
    server = serve()
    content = letter(1) + b"." * 5000
    uid = server.put(content)
    reader(server, mail_limit_bytes=200, delete=True).read_mailboxes(kept)
    [mail] = kept
    assert isinstance(mail, Inbound)
    assert mail.metadata == {"size_bytes": len(content), "read_bytes": 200}
    assert len(mail.body) < 200
    assert server.flags(uid) == {"\\Seen"}


def test_a_mail_that_is_gone_meanwhile_is_passed_over(serve: Any, kept: Kept) -> None:
    server = serve()
    _, gone, _ = server.put(letter(1)), server.put(letter(2)), server.put(letter(3))

    def keep(items: Any) -> bool:
        server.folders["INBOX"].pop(gone, None)
        return kept(items)

    reader(server).read_mailboxes(keep)
    assert kept.texts == ["Hello 1", "Hello 3"]


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_the_server_is_verified_before_anything_is_told(
    security: str, serve: Any, kept: Kept, authority: Authority
) -> None:
    server = serve(tls=authority.server(), implicit=security == "tls", offers="IMAP4rev1 STARTTLS")
    server.put(letter(1))
    with pytest.raises(Unavailable) as caught:
        reader(server, security=security).read_mailboxes(kept)
    assert caught.value.code == "tls_failed"
    assert not any("LOGIN" in command for command in server.commands)

    reader(server, security=security, ca_file=authority.file).read_mailboxes(kept)
    assert kept.texts == ["Hello 1"]


@pytest.mark.parametrize(
    ("settings", "answers", "error", "code"),
    [
        ({"security": "starttls"}, {}, Misconfigured, "no_starttls"),
        ({"password": "wrong-one"}, {}, Misconfigured, "login_refused"),
        ({}, {"LOGIN": "NO [UNAVAILABLE] later"}, Unavailable, "login_unavailable"),
        ({}, {"LOGIN": "BAD what"}, Misconfigured, "login_refused"),
        ({"folder": "Nowhere"}, {}, Misconfigured, "refused"),
        ({"move_to": "Nowhere"}, {}, Misconfigured, "refused"),
        ({}, {"greeting": "BYE too many"}, Unavailable, "garbled"),
        ({}, {"greeting": "SSH-2.0"}, Unavailable, "garbled"),
        ({}, {"greeting": Session.cut}, Unavailable, "disconnected"),
        ({}, {"SELECT": Session.cut}, Unavailable, "disconnected"),
        ({}, {"SEARCH": "BAD what"}, Unavailable, "garbled"),
        ({}, {"FETCH": "NO not now"}, Misconfigured, "refused"),
        ({}, {"STORE": "NO not yours"}, Misconfigured, "refused"),
        ({"silence_timeout_seconds": 0.2}, {"FETCH": lambda _: None}, Unavailable, "timed_out"),
        ({"total_timeout_seconds": 0.5}, {"FETCH": Session.drip}, Unavailable, "disconnected"),
    ],
)  # fmt: skip
def test_each_fault_is_blamed_on_who_can_mend_it(
    settings: Any, answers: Any, error: Any, code: str, serve: Any, kept: Kept
) -> None:
    server = serve()
    server.answers = answers
    uid = server.put(letter(1))
    with pytest.raises((Unavailable, Misconfigured)) as caught:
        reader(server, **settings).read_mailboxes(kept)
    assert type(caught.value) is error
    assert caught.value.code == code
    assert "wrong-one" not in str(caught.value)
    assert server.flags(uid) == set()


@pytest.mark.parametrize(
    ("settings", "code"), [({"move_to": "Done"}, "no_move"), ({"delete": True}, "no_uidplus")]
)
def test_an_extension_that_is_needed_is_demanded_first(
    settings: Any, code: str, serve: Any, kept: Kept
) -> None:
    server = serve(offers="IMAP4rev1")
    server.put(letter(1))
    with pytest.raises(Misconfigured) as caught:
        reader(server, **settings).read_mailboxes(kept)
    assert caught.value.code == code
    assert kept == []

    server.offers = "IMAP4rev1 IMAP4rev2"
    reader(server, **settings).read_mailboxes(kept)
    assert kept.texts == ["Hello 1"]


def test_a_server_that_is_not_there_is_unavailable(kept: Kept) -> None:
    class Nobody:
        port = free_port()

    with pytest.raises(Unavailable) as caught:
        reader(Nobody).read_mailboxes(kept)
    assert caught.value.code == "connection_refused"


def test_without_a_mailbox_there_is_nothing_to_collect(serve: Any) -> None:
    assert reader(serve()).has_mailboxes
    assert not Smtp(SmtpSettings(host="mx.example.net")).has_mailboxes


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"password": "hush-hush\r\nX"}, "ASCII"),
        ({"password": "hüsh-hush"}, "ASCII"),
        ({"password": None}, "password"),
        ({"username": "a b"}, "username"),
        ({"username": 'a"b'}, "username"),
        ({"security": "plain"}, "credentials need"),
        ({"folder": 'a"b'}, "folder"),
        ({"folder": "Gelöscht"}, "folder"),
        ({"folder": ""}, "folder"),
        ({"move_to": "a\r\nb"}, "move_to"),
        ({"move_to": "Done", "delete": True}, "exclude each other"),
        ({"mails_per_round": 0}, "mails_per_round"),
        ({"mail_limit_bytes": 0}, "mail_limit_bytes"),
        ({"host": "a b"}, "host"),
        ({"port": 0}, "port"),
    ],
)
def test_bad_settings_are_named_and_quoted_nowhere(settings: Any, says: str) -> None:
    usual = {"host": "imap.example.net", "username": "u", "password": "hush-hush"}
    with pytest.raises(ValidationError, match=says) as caught:
        SmtpSettings(host="mx.example.net", mailbox={**usual, **settings})
    assert "hush" not in str(caught.value)


def test_ports_follow_security() -> None:
    def port(**settings: Any) -> int:
        usual = {"host": "imap.example.net", "username": "u", "password": "p"}
        mailbox = SmtpSettings(host="mx.example.net", mailbox={**usual, **settings}).mailbox
        assert mailbox is not None
        return mailbox.port_number

    assert [port(), port(security="starttls"), port(port=1993)] == [993, 143, 1993]
