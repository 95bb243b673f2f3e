"""Conversations over HTTP: read, reply and mark as read."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Connection

from app.inbound import messages
from connectors.base import Inbound
from tests.app.outbox.driver import Outbox

ANN, US = "+4915112345678", "+15005550006"
PATH = "/api/conversations"


@pytest.fixture
def outbox(connection: Connection) -> Outbox:
    return Outbox(connection)


def _receive(connection: Connection, body: str = "Hello") -> int:
    message = Inbound(key=body, channel="sms", sender=ANN, recipient=US, body=body)
    return messages.store(connection, "gateway", message).id


def _bodies(client: FlaskClient, **query: Any) -> list[str]:
    shown = client.get(f"{PATH}/1/messages", query_string=query).get_json()["messages"]
    return [message["body"] for message in shown]


def test_conversation_is_listed_and_shown(client: FlaskClient, connection: Connection) -> None:
    number = _receive(connection)
    [shown] = client.get(f"{PATH}?participant={ANN}&unread=true").get_json()["conversations"]
    assert (shown["id"], shown["channel_family"], shown["message_count"]) == (1, "phone", 1)
    last = shown["last_message"]
    assert (last["id"], last["from"], last["to"], last["preview"]) == (number, ANN, US, "Hello")
    assert client.get(f"{PATH}/1").get_json() == shown
    [message] = client.get(f"{PATH}/1/messages").get_json()["messages"]
    assert (message["from"], message["to"], message["attachments"]) == (ANN, US, [])


def test_reply_is_submitted_to_the_sender(client: FlaskClient, connection: Connection) -> None:
    _receive(connection)
    response = client.post(f"{PATH}/1/messages", json={"body": "Hello Ann"})
    assert response.status_code == 202
    assert response.get_json()["conversation_id"] == 1
    shown = client.get(response.headers["Location"]).get_json()
    assert (shown["to"], shown["from"], shown["submitted_by"]) == (ANN, US, "shop")
    assert _bodies(client) == ["Hello", "Hello Ann"]
    assert _bodies(client, order="newest") == ["Hello Ann", "Hello"]


def test_repeated_reply_is_sent_once(client: FlaskClient, connection: Connection) -> None:
    _receive(connection)
    headers = {"Idempotency-Key": "k"}
    first = client.post(f"{PATH}/1/messages", json={"body": "hi"}, headers=headers)
    _receive(connection, "and another thing")
    again = client.post(f"{PATH}/1/messages", json={"body": "hi"}, headers=headers)
    assert (again.status_code, again.get_json()) == (202, first.get_json())
    assert again.headers["Idempotent-Replayed"] == "true"
    assert _bodies(client) == ["Hello", "hi", "and another thing"]


def test_invalid_reply_is_rejected_and_not_stored(
    client: FlaskClient, connection: Connection, outbox: Outbox
) -> None:
    _receive(connection)
    rows: list[tuple[Any, str]] = [({}, "body"), ([], ""), ({"body": "hi", "to": US}, "from")]
    for body, field in rows:
        rejected = client.post(f"{PATH}/1/messages", json=body)
        assert rejected.status_code == 422, body
        assert [error["field"] for error in rejected.get_json()["errors"]] == [field]
    assert outbox.execute("SELECT count(*) FROM messages").scalar_one() == 1


def test_sender_who_opted_out_is_not_sent_a_reply(
    client: FlaskClient, connection: Connection
) -> None:
    _receive(connection, "STOP")
    rejected = client.post(f"{PATH}/1/messages", json={"body": "hi"})
    assert rejected.status_code == 422
    [error] = rejected.get_json()["errors"]
    assert (error["field"], "opt_out" in error["reason"]) == ("to", True)


def test_reply_to_nobody_is_a_conflict(
    client: FlaskClient, connection: Connection, outbox: Outbox
) -> None:
    _receive(connection)
    outbox.execute("DELETE FROM messages")
    rejected = client.post(f"{PATH}/1/messages", json={"body": "hi"})
    assert rejected.status_code == 409
    assert "deleted" in rejected.get_json()["detail"]


def test_messages_are_marked_as_read_up_to_an_id_or_all(
    client: FlaskClient, connection: Connection
) -> None:
    first = _receive(connection, "1")
    _receive(connection, "2")
    marked = client.post(f"{PATH}/1/read", json={"up_to": first})
    assert marked.get_json()["unread_count"] == 1
    assert client.post(f"{PATH}/1/read").get_json()["unread_count"] == 0
    null = client.post(f"{PATH}/1/read", data="null", content_type="application/json")
    assert null.status_code == 422


def test_invalid_id_to_mark_as_read_is_rejected(
    client: FlaskClient, connection: Connection
) -> None:
    _receive(connection)
    for up_to in (0, -1, "1", 2**63, None, True, 1.5):
        rejected = client.post(f"{PATH}/1/read", json={"up_to": up_to})
        assert rejected.status_code == 422, up_to
    assert client.get(f"{PATH}/1").get_json()["unread_count"] == 1


def test_invalid_filters_are_rejected_with_their_field(client: FlaskClient) -> None:
    rows = [
        ("limit=0", "limit"),
        ("cursor=x", "cursor"),
        ("unread=1", "unread"),
        ("unread=", "unread"),
        ("channel=fax", "channel"),
        ("participant=%00", "participant"),
        ("order=newest", "order"),
    ]
    for query, field in rows:
        rejected = client.get(f"{PATH}?{query}")
        assert rejected.status_code == 422, query
        assert [error["field"] for error in rejected.get_json()["errors"]] == [field]


def test_missing_conversation_is_not_found(client: FlaskClient) -> None:
    rows = [("GET", ""), ("GET", "/messages"), ("POST", "/messages"), ("POST", "/read")]
    for method, path in rows:
        for number in (1, 0, 10**18 - 1, 2**63):
            body = {"json": {}} if method == "POST" else {}
            response = client.open(f"{PATH}/{number}{path}", method=method, **body)
            assert response.status_code == 404, (method, path, number)
