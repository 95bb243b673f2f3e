"""Lists of suppressed addresses."""

from typing import Any

from sqlalchemy import Connection

from app import suppression
from app.fields import parse
from app.queries.suppressions import SuppressionQuery, list_suppressions
from app.suppression import Reason

PHONE = "+18045551234"


def _add(connection: Connection, channel: str, address: str, reason: Reason = "manual") -> int:
    key = suppression.key(channel, address)
    entry, _ = suppression.add(connection, key, reason=reason, by="ann")
    return entry.id


def _list(connection: Connection, **query: Any) -> list[int]:
    page = list_suppressions(connection, parse(SuppressionQuery, query))
    return [entry.id for entry in page.suppressions]


def test_suppressions_are_listed_newest_first_by_filter(connection: Connection) -> None:
    _add(connection, "sms", PHONE)
    _add(connection, "mms", "+18045551235")
    _add(connection, "email", "ann@example.com", "complaint")
    _add(connection, "push", "Token")
    rows: list[tuple[dict[str, Any], list[int]]] = [
        ({}, [4, 3, 2, 1]),
        ({"channel": "sms"}, [2, 1]),
        ({"channel": "mms"}, [2, 1]),
        ({"channel": "email"}, [3]),
        ({"reason": "complaint"}, [3]),
        ({"address": "+1 (804) 555-1234"}, [1]),
        ({"address": "Ann <ANN@example.com>"}, [3]),
        ({"address": "Token"}, [4]),
        ({"address": "token"}, []),
        ({"address": PHONE, "channel": "email"}, []),
        ({"limit": 3}, [4, 3, 2]),
    ]
    failures = []
    for query, expected in rows:
        if (found := _list(connection, **query)) != expected:
            failures.append((query, found))
    assert not failures


def test_pages_neither_repeat_nor_skip_entries(connection: Connection) -> None:
    ids = [_add(connection, "push", f"token {number}") for number in range(5)]
    found: list[int] = []
    cursor = None
    while True:
        page = list_suppressions(connection, SuppressionQuery(limit=2, cursor=cursor))
        found += [entry.id for entry in page.suppressions]
        _add(connection, "http", f"later {cursor}")
        if (cursor := page.next_cursor) is None:
            break
    assert found == ids[::-1]
