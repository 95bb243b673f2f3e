"""Lists of conversations and of their messages."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection

from app.conversations import mark_read
from app.errors import InvalidError, NotFoundError
from app.fields import parse
from app.inbound import messages
from app.queries.conversations import (
    ConversationQuery,
    TranscriptQuery,
    get_conversation,
    list_conversation_messages,
    list_conversations,
)
from connectors.base import Attachment, Inbound
from tests.app.outbox.driver import Outbox

ANN, BOB, US = "+4915112345678", "+4915187654321", "+15005550006"

Store = Callable[..., int]


@pytest.fixture
def outbox(connection: Connection) -> Outbox:
    return Outbox(connection)


@pytest.fixture
def send(outbox: Outbox) -> Store:
    """Store a message to Ann."""

    def send(body: str = "Hello Ann", **fields: Any) -> int:
        return outbox.one(**{"sender": US, "recipient": ANN, "body": body, **fields})

    return send


@pytest.fixture
def receive(connection: Connection) -> Store:
    """Store a message from Ann."""

    def receive(body: str = "Hello", *, agent: str | None = "gateway", **fields: Any) -> int:
        usual = {"channel": "sms", "sender": ANN, "recipient": US, "key": str(uuid.uuid4())}
        message = Inbound(**{"body": body, **usual, **fields})
        return messages.store(connection, agent, message).id

    return receive


def _ids(connection: Connection, **query: Any) -> list[int]:
    page = list_conversations(connection, parse(ConversationQuery, query))
    return [conversation.id for conversation in page.conversations]


def _bodies(connection: Connection, **query: Any) -> list[str]:
    page = list_conversation_messages(connection, 1, parse(TranscriptQuery, query))
    return [message.body for message in page.messages]


def test_conversation_shows_its_last_message_and_its_counts(
    connection: Connection, send: Store, receive: Store
) -> None:
    send("Hello Ann")
    receive("Who is this?")
    number = receive("x" * 500, agent="other")
    shown = get_conversation(connection, 1)
    assert (shown.channel_family, shown.participants) == ("phone", sorted([ANN, US]))
    assert (shown.message_count, shown.unread_count) == (3, 2)
    last = shown.last_message
    assert last is not None
    assert (last.id, last.direction, last.status) == (number, "inbound", "received")
    assert (last.sender, last.recipient, last.channel) == (ANN, US, "sms")
    assert last.preview == "x" * 160
    assert list_conversations(connection, ConversationQuery()).conversations == [shown]


def test_conversation_with_the_newest_message_comes_first(
    connection: Connection, send: Store
) -> None:
    for recipient in (ANN, BOB, ANN, "+12025550123"):
        send(recipient=recipient)
    assert _ids(connection) == [3, 1, 2]
    send(recipient=BOB)
    assert _ids(connection) == [2, 3, 1]


def test_conversations_are_found_by_filter(
    connection: Connection, send: Store, receive: Store
) -> None:
    receive()
    send(recipient=BOB)
    receive(channel="email", sender="Ann <Ann@example.com>", recipient="hello@example.org")
    send(channel="http", agent="api", recipient=ANN, sender=US)
    rows: list[tuple[dict[str, Any], list[int]]] = [
        ({}, [4, 3, 2, 1]),
        ({"participant": ANN}, [4, 1]),
        ({"participant": "+49 151 12345678"}, [4, 1]),
        ({"participant": US}, [4, 2, 1]),
        ({"participant": "ANN@EXAMPLE.COM"}, [3]),
        ({"participant": "Ann <ann@example.com>"}, [3]),
        ({"participant": "nobody"}, []),
        ({"participant": ANN, "channel": "email"}, []),
        ({"channel": "email"}, [3]),
        ({"channel": "mms"}, [2, 1]),
        ({"channel": "http"}, [4]),
        ({"unread": "true"}, [3, 1]),
        ({"unread": "false"}, [4, 3, 2, 1]),
        ({"unread": "true", "channel": "sms"}, [1]),
        ({"unread": "true", "participant": BOB}, []),
        ({"limit": 3}, [4, 3, 2]),
    ]
    failures = []
    for query, expected in rows:
        if (found := _ids(connection, **query)) != expected:
            failures.append((query, found))
    assert not failures


@pytest.mark.parametrize("query", [{}, {"participant": US}, {"unread": "true"}], ids=str)
def test_pages_of_conversations_neither_repeat_nor_skip(
    connection: Connection, receive: Store, query: dict[str, str]
) -> None:
    people = [f"+1202555012{number}" for number in range(5)]
    for sender in people + people[:2]:
        receive(sender=sender)
    found: list[int] = []
    cursor = None
    while True:
        asked = parse(ConversationQuery, {"limit": 2, "cursor": cursor, **query})
        page = list_conversations(connection, asked)
        found += [conversation.id for conversation in page.conversations]
        receive(sender=f"+1202555014{len(found)}")
        if (cursor := page.next_cursor) is None:
            break
    assert found == [2, 1, 5, 4, 3]


def test_conversation_without_messages_is_empty_and_not_listed(
    connection: Connection, send: Store, outbox: Outbox
) -> None:
    send()
    outbox.execute("DELETE FROM messages")
    assert _ids(connection) == []
    assert _ids(connection, participant=ANN) == []
    shown = get_conversation(connection, 1)
    assert (shown.message_count, shown.unread_count, shown.last_message) == (0, 0, None)
    assert _bodies(connection) == []


def test_messages_of_a_conversation_are_listed_in_both_directions(
    connection: Connection, send: Store, receive: Store
) -> None:
    send("1")
    receive("2", attachments=(Attachment("cat.png", "image/png", content=b"abc"),))
    send("3")
    send("elsewhere", recipient=BOB)
    receive("4", agent=None)
    assert _bodies(connection) == ["1", "2", "3", "4"]
    assert _bodies(connection, order="newest") == ["4", "3", "2", "1"]
    shown = list_conversation_messages(connection, 1, TranscriptQuery()).messages
    assert [(one.direction, one.status) for one in shown] == [
        ("outbound", "outbox"),
        ("inbound", "received"),
    ] * 2
    assert [len(one.attachments) for one in shown] == [0, 1, 0, 0]
    [attachment] = shown[1].attachments
    assert (attachment.name, attachment.content_type, attachment.size_bytes) == (
        "cat.png", "image/png", 3,
    )  # fmt: skip


def test_long_bodies_are_cut(connection: Connection, receive: Store) -> None:
    receive(
        "x" * 70_000, channel="email", subject="Hi", sender="ann@example.com", recipient="us@x.org"
    )
    [shown] = list_conversation_messages(connection, 1, TranscriptQuery()).messages
    assert (shown.subject, len(shown.body)) == ("Hi", 65_536)


@pytest.mark.parametrize(("order", "expected"), [("oldest", "abcde"), ("newest", "edcba")])
def test_pages_of_messages_continue_where_the_previous_one_ended(
    connection: Connection, send: Store, order: str, expected: str
) -> None:
    for body in "abcde":
        send(body)
    found = ""
    cursor = None
    while True:
        asked = parse(TranscriptQuery, {"limit": 2, "cursor": cursor, "order": order})
        page = list_conversation_messages(connection, 1, asked)
        found += "".join(message.body for message in page.messages)
        if (cursor := page.next_cursor) is None:
            break
    assert found == expected


def test_cursor_of_one_order_is_not_valid_in_the_other(connection: Connection, send: Store) -> None:
    send()
    send()
    cursor = list_conversation_messages(connection, 1, TranscriptQuery(limit=1)).next_cursor
    with pytest.raises(InvalidError, match="cursor"):
        _bodies(connection, cursor=cursor, order="newest")


def test_messages_marked_as_read_are_not_unread(
    connection: Connection, send: Store, receive: Store
) -> None:
    ids = [receive(), send(), receive(), receive()]

    def unread(up_to: int) -> int:
        mark_read(connection, 1, up_to)
        return get_conversation(connection, 1).unread_count

    assert get_conversation(connection, 1).unread_count == 3
    assert unread(ids[1]) == 2
    assert unread(ids[0]) == 2, "messages that were read stay so"
    assert unread(2**63 - 1) == 0
    assert _ids(connection, unread="true") == []
    receive()
    assert get_conversation(connection, 1).unread_count == 1, "later messages are unread"


def test_missing_conversation_is_not_found(connection: Connection) -> None:
    with pytest.raises(NotFoundError, match="There is no conversation 1"):
        get_conversation(connection, 1)
