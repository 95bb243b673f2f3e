"""Storing inbound messages: once, in their conversation, with opt-out keywords applied."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from app import db, settings, suppression
from app.inbound import messages
from app.inbound.messages import Stored
from connectors.base import Attachment, Inbound
from tests.app.outbox.driver import Outbox

ANN, US = "+4915112345678", "+15005550006"
Store = Callable[..., Stored]


def inbound(**fields: Any) -> Inbound:
    usual = {"key": "k-1", "channel": "sms", "sender": ANN, "recipient": US, "body": "Hello"}
    return Inbound(**{**usual, **fields})


@pytest.fixture
def store(connection: Connection) -> Store:
    def store(agent: str | None = "gateway", **fields: Any) -> Stored:
        return messages.store(connection, agent, inbound(**fields))

    return store


@pytest.fixture
def outbox(connection: Connection) -> Outbox:
    return Outbox(connection)


def is_suppressed(outbox: Outbox) -> bool:
    return bool(suppression.find(outbox.connection, [("phone", ANN)]))


def test_message_is_stored_with_all_its_fields(store: Store, outbox: Outbox) -> None:
    stored = store(
        channel="email",
        sender="Ann <ann@EXAMPLE.com>",
        recipient="hello@example.org",
        subject="Hi",
        html="<p>Hello</p>",
        headers={"X-A": "b"},
        metadata={"spf": "pass"},
        provider_message_id="p-9",
        automatic=True,
        attachments=(
            Attachment("a.txt", "text/plain", content=b"abc"),
            Attachment("b.jpg", "image/jpeg", url="https://example.com/b.jpg"),
        ),
    )
    row = outbox.row(stored.id)._mapping
    expected = {
        "direction": "inbound",
        "status": "received",
        "reason": "automatic reply",
        "agent": "gateway",
        "inbound_key": "k-1",
        "sender": "Ann <ann@example.com>",
        "recipient": "hello@example.org",
        "subject": "Hi",
        "body": "Hello",
        "html": "<p>Hello</p>",
        "headers": {"X-A": "b"},
        "metadata": {"spf": "pass"},
        "provider_message_id": "p-9",
        "conversation_id": stored.conversation_id,
    }
    assert {name: row[name] for name in expected} == expected
    files = outbox.execute("SELECT name, content, url FROM attachments ORDER BY id").all()
    assert [(file.name, file.content and bytes(file.content), file.url) for file in files] == [
        ("a.txt", b"abc", None),
        ("b.jpg", None, "https://example.com/b.jpg"),
    ]
    assert outbox.events(stored.id) == [(None, "received")]


def test_repeated_message_is_stored_once_for_each_agent(store: Store, outbox: Outbox) -> None:
    first = store()
    assert first.is_new
    again = store(body="repeated with another text")
    assert again == Stored(first.id, first.conversation_id, is_new=False)
    assert store(agent="other").is_new
    assert store(agent=None).is_new
    assert not store(agent=None).is_new
    assert outbox.execute("SELECT count(*) FROM messages").scalar_one() == 3


def test_message_joins_the_conversation_of_what_was_sent(store: Store, outbox: Outbox) -> None:
    number = outbox.one(sender=US, recipient=ANN)
    assert store().conversation_id == outbox.row(number).conversation_id


def test_concurrent_messages_share_a_conversation_and_repeats_are_stored_once(
    database: str,
) -> None:
    start = threading.Barrier(4)

    def store(number: int) -> Stored:
        start.wait()
        with db.transaction() as connection:
            return messages.store(connection, "gateway", inbound(key=f"k-{number % 2}"))

    with ThreadPoolExecutor(4) as threads:
        stored = [*threads.map(store, range(4))]
    assert len({one.conversation_id for one in stored}) == 1
    assert sum(one.is_new for one in stored) == len({one.id for one in stored}) == 2


def test_reply_points_to_the_message_it_replies_to(store: Store, outbox: Outbox) -> None:
    number = outbox.one(sender=US)
    outbox.execute("UPDATE messages SET provider_message_id = 'p-1' WHERE id = :id", id=number)
    uid = str(outbox.row(number).uid)
    rows: list[tuple[tuple[str, ...], int | None]] = [
        (("<unknown@example.com>", f"<{uid}@mail.example.org>"), number),
        ((uid,), number),
        (("p-1",), number),
        ((f"<{uid.upper()}@mail.example.org>",), number),
        (("<x@example.com>", "p-2"), None),
    ]
    found = []
    for key, (ids, _) in enumerate(rows):
        stored = store(key=f"k-{key}", in_reply_to=ids)
        found.append((ids, outbox.row(stored.id).parent_id))
    assert found == rows


def test_message_is_stored_whatever_its_sender_is_called(store: Store, outbox: Outbox) -> None:
    rows = [
        ("sms", "MyBank", "MyBank"),
        ("sms", "72000", "72000"),
        ("sms", "not a number \r\n at all +", "not a number at all +"),
        ("email", "no address at all", "no address at all"),
        ("email", "", "unknown"),
        ("sms", "\0", "\ufffd"),
    ]
    found = []
    for key, (channel, sender, _) in enumerate(rows):
        stored = store(key=f"k-{key}", channel=channel, sender=sender)
        found.append((channel, sender, outbox.row(stored.id).sender))
    assert found == rows


def test_characters_that_postgresql_rejects_are_replaced(store: Store, outbox: Outbox) -> None:
    stored = store(body="a\0b", subject="\ud800", metadata={"x": ["\0"]}, headers={"\0": "\udfff"})
    row = outbox.row(stored.id)
    assert (row.body, row.subject, row.metadata, row.headers) == (
        "a\ufffdb",
        "\ufffd",
        {"x": ["\ufffd"]},
        {"\ufffd": "\ufffd"},
    )


def test_stop_suppresses_its_sender(store: Store, outbox: Outbox) -> None:
    stored = store(body="Stop.")
    assert is_suppressed(outbox)
    [entry] = outbox.execute("SELECT * FROM suppressions").all()
    assert (entry.reason, entry.agent, entry.message_id, entry.created_by) == (
        "opt_out",
        "gateway",
        stored.id,
        "recipient",
    )
    [event] = outbox.execute("SELECT * FROM message_events").all()
    assert event.reason == "STOP: the sender opted out"


def test_repeated_stop_is_not_applied_again_after_a_start(store: Store, outbox: Outbox) -> None:
    for key, body in ("k-1", "STOP"), ("k-2", "START"), ("k-1", "STOP"):
        store(key=key, body=body)
    assert not is_suppressed(outbox)
    assert outbox.execute("SELECT reason FROM messages ORDER BY id").scalars().all() == [
        "STOP: the sender opted out",
        "START: the sender opted in again",
    ]


def test_same_content_is_a_new_message_after_the_repeat_window(
    store: Store, outbox: Outbox
) -> None:
    window = timedelta(hours=1)
    first = store(body="OK", repeat_window=window)
    assert not store(body="OK", repeat_window=window).is_new
    outbox.execute("UPDATE messages SET created_at = now() - interval '2 hours'")
    again = store(body="OK", repeat_window=window)
    assert again.is_new
    assert not store(body="OK", repeat_window=window).is_new
    assert outbox.execute("SELECT id FROM messages ORDER BY id").scalars().all() == [
        first.id,
        again.id,
    ]


def test_stop_without_an_id_is_applied_again_after_a_start(store: Store, outbox: Outbox) -> None:
    window = timedelta(hours=1)
    for body in ("STOP", "STOP", "START", "STOP", "STOP"):
        store(key=body, body=body, repeat_window=window)
    assert is_suppressed(outbox)
    bodies = outbox.execute("SELECT body FROM messages ORDER BY id").scalars().all()
    assert bodies == ["STOP", "START", "STOP"]
    # A repeat of START must not undo the opt-out that followed it.
    store(key="START", body="START", repeat_window=window)
    assert is_suppressed(outbox)


def test_languages_of_the_settings_decide_which_words_are_keywords(
    store: Store, outbox: Outbox, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("POSTROOM_KEYWORD_LANGUAGES", '["ru"]')
    settings.settings.cache_clear()
    store(key="k-1", body="quit")
    assert not is_suppressed(outbox)
    store(key="k-2", body="Стоп")
    assert is_suppressed(outbox)


def test_keyword_that_the_provider_recognised_is_applied(store: Store, outbox: Outbox) -> None:
    store(body="c'est fini", keyword="stop")
    assert is_suppressed(outbox)


def test_keyword_in_a_mail_is_ignored(store: Store, outbox: Outbox) -> None:
    store(channel="email", sender="ann@example.com", recipient="us@example.org", body="STOP")
    assert outbox.execute("SELECT count(*) FROM suppressions").scalar_one() == 0
