"""What people send us: kept once, in its conversation, and obeyed where it is STOP."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Connection, text

from app import db, suppression
from app.inbound import messages as inbox
from connectors.base import Attachment, Inbound
from tests.app.outbox.driver import Outbox

ANN, US = "+4915112345678", "+15005550006"


def letter(**fields: Any) -> Inbound:
    usual = {"key": "k-1", "channel": "sms", "sender": ANN, "recipient": US, "body": "Hello"}
    return Inbound(**{**usual, **fields})


@pytest.fixture
def keep(connection: Connection) -> Callable[..., inbox.Kept]:
    def keep(message: Inbound | None = None, agent: str | None = "gateway", **fields: Any):
        return inbox.keep(connection, agent, message or letter(**fields))

    return keep


@pytest.fixture
def outbox(connection: Connection) -> Outbox:
    return Outbox(connection)


def suppressed(connection: Connection, address: str = ANN) -> bool:
    return bool(suppression.find(connection, [("phone", address)]))


def test_a_message_is_kept_whole(keep, outbox) -> None:
    kept = keep(
        channel="email",
        sender="Ann <ann@EXAMPLE.com>",
        recipient="hello@example.org",
        subject="Hi",
        html="<p>Hello</p>",
        headers={"X-A": "b"},
        metadata={"spf": "pass"},
        provider_message_id="p-9",
        attachments=(
            Attachment("a.txt", "text/plain", content=b"abc"),
            Attachment("b.jpg", "image/jpeg", url="https://example.com/b.jpg"),
        ),
    )
    row = outbox.row(kept.id)
    assert (row.direction, row.status, row.agent, row.inbound_key) == (
        "inbound",
        "received",
        "gateway",
        "k-1",
    )
    assert (row.sender, row.recipient, row.subject) == (
        "Ann <ann@example.com>",
        "hello@example.org",
        "Hi",
    )
    assert (row.body, row.html, row.headers, row.metadata) == (
        "Hello",
        "<p>Hello</p>",
        {"X-A": "b"},
        {"spf": "pass"},
    )
    files = outbox.execute("SELECT name, content, url FROM attachments ORDER BY id").all()
    assert [(file.name, file.content and bytes(file.content), file.url) for file in files] == [
        ("a.txt", b"abc", None),
        ("b.jpg", None, "https://example.com/b.jpg"),
    ]
    assert outbox.events(kept.id) == [(None, "received")]


def test_a_message_is_kept_once(keep, outbox) -> None:
    first = keep()
    assert first.is_new
    again = keep(body="the same, or so its provider says")
    assert (again.id, again.conversation_id, again.is_new) == (
        first.id,
        first.conversation_id,
        False,
    )
    assert keep(agent="other").is_new
    assert keep(agent=None).is_new
    assert not keep(agent=None).is_new
    assert outbox.execute("SELECT count(*) FROM messages").scalar_one() == 3


def test_a_message_joins_the_conversation_of_those_it_answers(keep, outbox) -> None:
    number = outbox.one(sender=US, recipient=ANN)
    assert keep().conversation_id == outbox.row(number).conversation_id


def test_the_first_message_of_all_is_in_conversation_1(keep) -> None:
    assert keep().conversation_id == 1


def test_first_messages_at_the_same_moment_make_one_conversation(database: str) -> None:
    together = threading.Barrier(4)

    def keep(number: int) -> int:
        together.wait()
        with db.transaction() as connection:
            return inbox.keep(connection, "gateway", letter(key=f"k-{number}")).conversation_id

    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(keep, range(4)))) == 1


def test_the_same_message_at_the_same_moment_is_kept_once(database: str) -> None:
    together = threading.Barrier(4)

    def keep(_: int) -> bool:
        together.wait()
        with db.transaction() as connection:
            return inbox.keep(connection, "gateway", letter()).is_new

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(keep, range(4))) == 1


@pytest.mark.parametrize(
    "answers",
    [
        ("<unknown@example.com>", "<{uid}@mail.example.org>"),
        ("{uid}",),
        ("p-1",),
        ("<{upper}@mail.example.org>",),
    ],
)
def test_an_answer_points_at_what_it_answers(keep, outbox, answers) -> None:
    number = outbox.one(sender=US)
    outbox.execute("UPDATE messages SET provider_message_id = 'p-1' WHERE id = :id", id=number)
    uid = str(outbox.row(number).uid)
    kept = keep(in_reply_to=tuple(one.format(uid=uid, upper=uid.upper()) for one in answers))
    assert outbox.row(kept.id).parent_id == number


def test_an_answer_to_nothing_of_ours_points_nowhere(keep, outbox) -> None:
    assert outbox.row(keep(in_reply_to=("<x@example.com>", "p-1")).id).parent_id is None


@pytest.mark.parametrize(
    ("channel", "sender"),
    [
        ("sms", "MyBank"),
        ("sms", "72000"),
        ("sms", "not a number \r\n at all +"),
        ("email", "no address at all"),
        ("email", ""),
        ("sms", "\0"),
    ],
)
def test_whatever_the_sender_is_called_the_message_is_kept(keep, channel, sender) -> None:
    assert keep(channel=channel, sender=sender).is_new


def test_what_postgresql_cannot_hold_is_kept_without_it(keep, outbox) -> None:
    kept = keep(body="a\0b", subject="\ud800", metadata={"x": "\0"}, headers={"\0": "\udfff"})
    row = outbox.row(kept.id)
    assert (row.body, row.subject, row.metadata) == ("a\ufffdb", "\ufffd", {"x": "\ufffd"})


@pytest.mark.parametrize("body", ["STOP", "stop", " Stop! ", "Unsubscribe.", "stop all"])
def test_stop_suppresses_its_sender(keep, connection, outbox, body) -> None:
    kept = keep(body=body)
    assert suppressed(connection)
    [entry] = outbox.execute("SELECT * FROM suppressions").all()
    assert (entry.reason, entry.message_id, entry.created_by) == ("opt_out", kept.id, "recipient")
    [event] = outbox.execute("SELECT * FROM message_events").all()
    assert event.reason == "STOP: its sender is not written to any more"


@pytest.mark.parametrize("body", ["please stop", "stopping by", "Halt", "отписаться", ""])
def test_any_other_text_does_not(keep, connection, body) -> None:
    keep(body=body)
    assert not suppressed(connection)


def test_words_of_other_languages_count_where_they_are_set(
    keep, connection, environment: pytest.MonkeyPatch
) -> None:
    from app import settings

    environment.setenv("POSTROOM_KEYWORD_LANGUAGES", '["de", "ru"]')
    settings.settings.cache_clear()
    keep(body="Стоп")
    assert suppressed(connection)
    keep(key="k-2", body="Anmelden")
    assert not suppressed(connection)
    keep(key="k-3", body="quit")
    assert not suppressed(connection)


def test_a_word_that_the_provider_recognised_counts(keep, connection) -> None:
    keep(body="c'est fini", keyword="stop")
    assert suppressed(connection)


def test_start_ends_what_stop_began_and_nothing_else(keep, connection) -> None:
    keep(body="STOP")
    keep(key="k-2", body="START")
    assert not suppressed(connection)
    suppression.add(connection, ("phone", ANN), reason="hard_bounce", by="test")
    keep(key="k-3", body="START")
    assert suppressed(connection)


def test_a_repeated_stop_after_a_start_does_not_count_again(keep, connection) -> None:
    for key, body in ("k-1", "STOP"), ("k-2", "START"), ("k-1", "STOP"):
        keep(key=key, body=body)
    assert not suppressed(connection)


def test_a_mail_that_says_stop_is_a_mail(keep, connection) -> None:
    keep(channel="email", sender="ann@example.com", recipient="us@example.org", body="STOP")
    assert connection.execute(text("SELECT count(*) FROM suppressions")).scalar_one() == 0


def test_help_is_kept_with_an_event(keep, outbox) -> None:
    keep(body="HELP")
    assert outbox.execute("SELECT reason FROM message_events").scalars().all() == ["HELP"]
