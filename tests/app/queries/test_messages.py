"""Lists of messages, and a message with its history."""

from typing import Any

import pytest
from sqlalchemy import Connection, text

from app.errors import InvalidError, NotFoundError
from app.fields import parse
from app.queries.messages import MessageQuery, get_message, list_messages
from tests.app.outbox.driver import Outbox

PHONE = "+18045551234"


@pytest.fixture
def outbox(connection: Connection) -> Outbox:
    return Outbox(connection)


def _insert(outbox: Outbox, **values: Any) -> int:
    usual = {"channel": "sms", "agent": "gateway", "recipient": PHONE, "body": "secret"}
    return outbox.insert(**{**usual, **values})


def _list(connection: Connection, **query: Any) -> list[int]:
    page = list_messages(connection, parse(MessageQuery, query))
    return [message.id for message in page.messages]


def test_messages_are_listed_newest_first_by_filter(connection: Connection, outbox: Outbox) -> None:
    _insert(outbox)
    _insert(outbox, status="failed", reference="order")
    _insert(outbox, status="queued", lease_until="now")
    _insert(outbox, channel="email", agent="smtp", recipient="bob@example.org", status="sent")
    _insert(outbox, direction="inbound", status="received")
    rows: list[tuple[dict[str, Any], list[int]]] = [
        ({}, [5, 4, 3, 2, 1]),
        ({"status": ["failed"]}, [2]),
        ({"status": ["failed", "queued", "outbox"]}, [3, 2, 1]),
        ({"status": ["received"]}, [5]),
        ({"channel": "email"}, [4]),
        ({"agent": "smtp"}, [4]),
        ({"direction": "inbound"}, [5]),
        ({"to": PHONE}, [5, 3, 2, 1]),
        ({"to": "+1 (804) 555-1234"}, [5, 3, 2, 1]),
        ({"to": " 18045551234"}, [5, 3, 2, 1]),
        ({"to": "bob@EXAMPLE.org"}, [4]),
        ({"to": "nobody"}, []),
        ({"reference": "order"}, [2]),
        ({"since": "2020-01-01T00:00:00Z"}, [5, 4, 3, 2, 1]),
        ({"until": "2020-01-01T00:00:00Z"}, []),
        ({"since": "2020-01-01T00:00:00+22:48"}, [5, 4, 3, 2, 1]),
        ({"status": ["failed"], "channel": "email"}, []),
        ({"limit": 2}, [5, 4]),
    ]
    failures = []
    for query, expected in rows:
        if (found := _list(connection, **query)) != expected:
            failures.append((query, found))
    assert not failures


def test_pages_neither_repeat_nor_skip_messages_that_arrive_meanwhile(
    connection: Connection, outbox: Outbox
) -> None:
    ids = [_insert(outbox) for _ in range(5)]
    found: list[int] = []
    cursor = None
    while True:
        page = list_messages(connection, MessageQuery(limit=2, cursor=cursor))
        found += [message.id for message in page.messages]
        _insert(outbox)
        if (cursor := page.next_cursor) is None:
            break
    assert found == ids[::-1]


def test_invalid_cursor_is_rejected(connection: Connection) -> None:
    for cursor in ("x", "YmVmb3JlIC0x", "YWZ0ZXIgMQ==", "é"):  # the second is "before -1"
        with pytest.raises(InvalidError, match=r"cursor: not a valid cursor\. Use next_cursor"):
            list_messages(connection, MessageQuery(cursor=cursor))


def test_list_shows_no_content(connection: Connection, outbox: Outbox) -> None:
    number = _insert(outbox)
    page = list_messages(connection, MessageQuery())
    assert "secret" not in page.model_dump_json()
    assert get_message(connection, number).body == "secret"


def test_message_is_shown_with_its_history(connection: Connection, outbox: Outbox) -> None:
    number = _insert(outbox)
    connection.execute(text("UPDATE messages SET status = 'sent', reason = 'accepted'"))
    connection.execute(
        text("""
            INSERT INTO attempts
                (message_id, claim_token, agent, outcome, code, detail, duration_ms)
            VALUES (:id, 1, 'gateway', 'accepted', '202', 'Accepted', 12)
        """),
        {"id": number},
    )
    _insert(outbox, direction="inbound", status="received", parent_id=number)
    connection.execute(
        text("""
            INSERT INTO receipts
                (agent, key, kind, message_id, provider_message_id, recipient, code, payload)
            VALUES ('gateway', :kind, :kind, :id, 'p-1', '+1', '30003', '{"ip": "secret"}')
        """),
        [{"id": number, "kind": kind} for kind in ("delivered", "opened")],
    )
    message = get_message(connection, number)
    assert [(event.from_status, event.to_status) for event in message.events] == [
        (None, "outbox"),
        ("outbox", "sent"),
    ]
    assert [(one.outcome, one.code) for one in message.attempt_log] == [("accepted", "202")]
    assert [reply.parent_id for reply in message.replies] == [number]
    assert [(one.kind, one.code, one.recipient) for one in message.receipts] == [
        ("delivered", "30003", "+1"),
        ("opened", "30003", "+1"),
    ]
    assert '"ip"' not in message.model_dump_json(), "receipts may describe the reader's device"


def test_missing_message_is_not_found(connection: Connection) -> None:
    with pytest.raises(NotFoundError, match="There is no message 1"):
        get_message(connection, 1)
