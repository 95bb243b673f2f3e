from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Connection, text

INSERT = text("""
INSERT INTO messages (channel, agent, recipient, body, reference, status, direction, lease_until)
VALUES (:channel, :agent, :recipient, 'secret', :reference, :status, :direction,
    CASE WHEN :status IN ('queued', 'sending') THEN now() END)
RETURNING id
""")
DEFAULTS = {
    "channel": "sms",
    "agent": "gateway",
    "recipient": "+18045551234",
    "reference": None,
    "status": "outbox",
    "direction": "outbound",
}


def _insert(connection: Connection, **values: Any) -> int:
    return int(connection.execute(INSERT, {**DEFAULTS, **values}).scalar_one())


def _ids(client: FlaskClient, **query: Any) -> list[int]:
    response = client.get("/api/messages", query_string=query)
    assert response.status_code == 200, response.text
    return [message["id"] for message in response.get_json()["messages"]]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, [5, 4, 3, 2, 1]),
        ({"status": "failed"}, [2]),
        ({"status": ["failed", "queued", "outbox"]}, [3, 2, 1]),
        ({"status": "received"}, [5]),
        ({"channel": "email"}, [4]),
        ({"agent": "smtp"}, [4]),
        ({"direction": "inbound"}, [5]),
        ({"recipient": "+18045551234"}, [5, 3, 2, 1]),
        ({"recipient": "+1 (804) 555-1234"}, [5, 3, 2, 1]),
        ({"recipient": "bob@EXAMPLE.org"}, [4]),
        ({"recipient": "nobody"}, []),
        ({"reference": "order"}, [2]),
        ({"created_from": "2020-01-01T00:00:00Z"}, [5, 4, 3, 2, 1]),
        ({"created_to": "2020-01-01T00:00:00Z"}, []),
        ({"created_from": "2020-01-01T00:00:00+22:48"}, [5, 4, 3, 2, 1]),
        ({"status": "failed", "channel": "email"}, []),
        ({"limit": 2}, [5, 4]),
    ],
)
def test_messages_are_listed_newest_first_by_filter(
    client: FlaskClient, connection: Connection, query: dict[str, Any], found: list[int]
) -> None:
    _insert(connection)
    _insert(connection, status="failed", reference="order")
    _insert(connection, status="queued")
    _insert(connection, channel="email", agent="smtp", recipient="bob@example.org", status="sent")
    _insert(connection, direction="inbound", status="received")
    assert _ids(client, **query) == found


def test_a_plus_sign_that_was_not_escaped_is_understood(
    client: FlaskClient, connection: Connection
) -> None:
    _insert(connection)
    assert client.get("/api/messages?recipient=+18045551234").get_json()["messages"]


def test_pages_neither_repeat_nor_skip_while_messages_arrive(
    client: FlaskClient, connection: Connection
) -> None:
    there = [_insert(connection) for _ in range(5)]
    seen: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        query = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = client.get("/api/messages", query_string=query).get_json()
        seen += [message["id"] for message in page["messages"]]
        cursor = page["next_cursor"]
        _insert(connection)
    assert seen == there[::-1]


def test_the_list_shows_no_content(client: FlaskClient, connection: Connection) -> None:
    _insert(connection)
    assert "secret" not in client.get("/api/messages").text
    assert client.get("/api/messages/1").get_json()["body"] == "secret"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=x", "limit"),
        ("limit=1&limit=2", "limit"),
        ("cursor=x", "cursor"),
        ("cursor=YmVmb3JlIC0x", "cursor"),
        ("cursor=YmVmb3JlIDE%3D%0a", "cursor"),
        ("status=lost", "status[0]"),
        ("channel=fax", "channel"),
        ("created_from=yesterday", "created_from"),
        ("created_from=2026-01-01T00:00:00", "created_from"),
        ("recipient=%00", "recipient"),
        ("agent=", "agent"),
        ("colour=red", "colour"),
    ],
)
def test_a_query_that_cannot_be_meant_is_refused(
    client: FlaskClient, query: str, field: str
) -> None:
    response = client.get(f"/api/messages?{query}")
    assert response.status_code == 422
    assert [error["field"] for error in response.get_json()["errors"]] == [field]


def test_a_message_is_shown_with_all_that_happened_to_it(
    client: FlaskClient, connection: Connection
) -> None:
    sent = _insert(connection)
    connection.execute(text("UPDATE messages SET status = 'sent', reason = 'taken'"))
    connection.execute(
        text(
            "INSERT INTO attempts (message_id, claim_token, agent, outcome, code, detail, duration_ms)"
            " VALUES (:id, 1, 'gateway', 'accepted', '202', 'Accepted', 12)"
        ),
        {"id": sent},
    )
    connection.execute(
        text(
            "INSERT INTO messages (channel, recipient, direction, status, parent_id)"
            " VALUES ('sms', '+1', 'inbound', 'received', :id)"
        ),
        {"id": sent},
    )
    connection.execute(
        text(
            "INSERT INTO receipts"
            " (agent, key, kind, message_id, provider_message_id, code, payload)"
            " VALUES ('gateway', :kind, :kind, :id, 'p-1', '30003', '{\"ip\": \"secret\"}')"
        ),
        [{"id": sent, "kind": kind} for kind in ("delivered", "opened")],
    )
    response = client.get(f"/api/messages/{sent}")
    shown = response.get_json()
    assert [(event["from_status"], event["to_status"]) for event in shown["events"]] == [
        (None, "outbox"),
        ("outbox", "sent"),
    ]
    assert [(attempt["outcome"], attempt["code"]) for attempt in shown["attempts"]] == [
        ("accepted", "202")
    ]
    assert [reply["parent_id"] for reply in shown["replies"]] == [sent]
    assert [
        (receipt["kind"], receipt["code"], receipt["provider_message_id"])
        for receipt in shown["receipts"]
    ] == [("delivered", "30003", "p-1"), ("opened", "30003", "p-1")]
    assert '"ip"' not in response.text, "of the readers' devices nothing is told"


def test_the_statuses_of_the_api_are_those_of_the_table() -> None:
    from typing import get_args

    from app.api.routes.replay import Replayable
    from app.models import OUTBOUND_STATUSES
    from app.outbox.states import REPLAYABLE
    from app.queries.views import Status

    assert get_args(Status) == (*OUTBOUND_STATUSES, "received")
    assert set(get_args(Replayable)) == REPLAYABLE
