"""The suppression list over HTTP, and what it refuses."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Connection, text

from app import suppression
from app.auth import tokens as auth

PHONE = "+18045551234"
SMS = {"channel": "sms", "to": "+1 (804) 555-1234", "body": "hi"}
MAIL = {"channel": "email", "to": "Ann <ann@example.com>", "body": "hi"}


def _add(client: FlaskClient, channel: str, address: str, **more: Any) -> dict[str, Any]:
    body = {"channel": channel, "address": address, **more}
    response = client.post("/api/suppressions", json=body)
    assert response.status_code == 201, response.text
    return dict(response.get_json())


def _found(client: FlaskClient, **query: Any) -> list[int]:
    response = client.get("/api/suppressions", query_string=query)
    assert response.status_code == 200, response.text
    return [entry["id"] for entry in response.get_json()["suppressions"]]


def _messages(connection: Connection) -> int:
    return int(connection.execute(text("SELECT count(*) FROM messages")).scalar_one())


# By hand


@pytest.mark.parametrize(
    ("channel", "address", "family", "kept"),
    [
        ("sms", "+1 (804) 555-1234", "phone", PHONE),
        ("mms", PHONE, "phone", PHONE),
        ("email", "Ann <ANN@Example.com>", "email", "ann@example.com"),
        ("push", "Token:1", "push", "Token:1"),
    ],
)
def test_an_address_is_added_as_it_is_compared(
    client: FlaskClient, channel: str, address: str, family: str, kept: str
) -> None:
    entry = _add(client, channel, address, detail="asked by phone")
    assert (entry["channel_family"], entry["address"]) == (family, kept)
    assert (entry["reason"], entry["detail"]) == ("manual", "asked by phone")
    assert (entry["created_by"], entry["agent"], entry["message_id"]) == ("shop", None, None)
    assert entry["created_at"].endswith("Z")


def test_what_is_on_the_list_already_is_shown_and_stays(client: FlaskClient) -> None:
    first = _add(client, "sms", PHONE, reason="opt_out")
    body = {"channel": "mms", "address": PHONE, "reason": "complaint"}
    again = client.post("/api/suppressions", json=body)
    assert (again.status_code, again.get_json()) == (200, first)


def test_what_is_removed_is_shown_once_more(client: FlaskClient) -> None:
    entry = _add(client, "sms", PHONE)
    answers = [client.delete(f"/api/suppressions/{entry['id']}") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 404]
    assert answers[0].get_json() == entry
    assert _found(client) == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"channel": "sms", "address": "call me"}, "address"),
        ({"channel": "email", "address": "ann"}, "address"),
        ({"channel": "email", "address": "a@b.cd, e@f.gh"}, "address"),
        ({"channel": "push", "address": "a\nb"}, "address"),
        ({"channel": "push", "address": ""}, "address"),
        ({"channel": "fax", "address": PHONE}, "channel"),
        ({"address": PHONE}, "channel"),
        ({"channel": "sms", "address": PHONE, "reason": "mood"}, "reason"),
        ({"channel": "sms", "address": PHONE, "detail": "a\nb"}, "detail"),
        ({"channel": "sms", "address": PHONE, "colour": "red"}, "colour"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    client: FlaskClient, body: dict[str, Any], field: str
) -> None:
    response = client.post("/api/suppressions", json=body)
    assert response.status_code == 422
    assert [error["field"] for error in response.get_json()["errors"]] == [field]
    assert _found(client) == []


@pytest.mark.parametrize(
    ("query", "found"),
    [
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
    ],
    ids=str,
)
def test_entries_are_listed_newest_first_by_filter(
    client: FlaskClient, query: dict[str, Any], found: list[int]
) -> None:
    _add(client, "sms", PHONE)
    _add(client, "mms", "+18045551235")
    _add(client, "email", "ann@example.com", reason="complaint")
    _add(client, "push", "Token")
    assert _found(client, **query) == found


def test_pages_neither_repeat_nor_skip(client: FlaskClient) -> None:
    there = [_add(client, "push", f"token {number}")["id"] for number in range(5)]
    seen: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        query = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = client.get("/api/suppressions", query_string=query).get_json()
        seen += [entry["id"] for entry in page["suppressions"]]
        cursor = page["next_cursor"]
        _add(client, "http", f"later {cursor}")
    assert seen == there[::-1]


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/api/suppressions", "read"),
        ("POST", "/api/suppressions", "operate"),
        ("DELETE", "/api/suppressions/1", "operate"),
    ],
)
def test_who_may_only_read_changes_nothing(
    anonymous: FlaskClient, connection: Connection, method: str, path: str, scope: auth.Scope
) -> None:
    others = [one for one in auth.SCOPES if one != scope]
    token = auth.create_token(connection, name="others", scopes=others)
    response = anonymous.open(
        path,
        method=method,
        json={"channel": "sms", "address": PHONE} if method == "POST" else None,
        headers={"X-API-Token": token},
    )
    assert response.status_code == 403


# At submission


@pytest.mark.parametrize(
    ("body", "channel", "address", "fields"),
    [
        (SMS, "sms", PHONE, ["to"]),
        ({**SMS, "channel": "mms"}, "sms", PHONE, ["to"]),
        (MAIL, "email", "ANN@example.com", ["to"]),
        (
            {**MAIL, "to": "x@y.zz", "cc": ["a@b.cd", "Ann <ann@Example.com>"]},
            "email",
            "ann@example.com",
            ["cc[1]"],
        ),
        (
            {**MAIL, "bcc": ["ann@example.com"]},
            "email",
            "ann@example.com",
            ["to", "bcc[0]"],
        ),
        ({"channel": "push", "to": "Token", "body": "hi"}, "push", "Token", ["to"]),
    ],
    ids=str,
)
def test_a_message_to_a_suppressed_address_is_refused_with_the_reason_and_the_way_out(
    client: FlaskClient,
    connection: Connection,
    body: dict[str, Any],
    channel: str,
    address: str,
    fields: list[str],
) -> None:
    entry = _add(client, channel, address, reason="hard_bounce", detail="5.1.1")
    refused = client.post("/api/messages", json=body, headers={"Idempotency-Key": "a"})
    assert refused.status_code == 422
    problem = refused.get_json()
    assert [error["field"] for error in problem["errors"]] == fields
    since = entry["created_at"][: len("2026-11-22T14:00:00")]
    reason = (
        f"{entry['address']} has been suppressed since {since}Z: hard_bounce (5.1.1)."
        f" To send to it again, remove suppression {entry['id']}."
    )
    assert {error["reason"] for error in problem["errors"]} == {reason}
    assert _messages(connection) == 0

    client.delete(f"/api/suppressions/{entry['id']}")
    accepted = client.post("/api/messages", json=body, headers={"Idempotency-Key": "a"})
    assert accepted.status_code == 202, accepted.text


def test_another_channel_of_the_same_text_is_not_suppressed(client: FlaskClient) -> None:
    _add(client, "http", "ann@example.com")
    assert client.post("/api/messages", json=MAIL).status_code == 202


def test_of_a_list_the_suppressed_are_rejected_in_their_place(
    client: FlaskClient, connection: Connection
) -> None:
    _add(client, "sms", PHONE)
    other = {**SMS, "to": "+18045551235"}
    response = client.post("/api/messages", json=[SMS, other, {**SMS, "to": "x"}, SMS, other])
    assert response.status_code == 202
    answer = response.get_json()
    assert [one["index"] for one in answer["accepted"]] == [1, 4]
    assert [(one["index"], one["errors"][0]["field"]) for one in answer["rejected"]] == [
        (0, "to"), (2, "to"), (3, "to"),
    ]  # fmt: skip
    assert _messages(connection) == 2

    none = client.post("/api/messages", json=[SMS])
    assert none.status_code == 422
    assert none.get_json()["rejected"][0]["errors"][0]["field"] == "to"
    assert _messages(connection) == 2


def test_a_list_asks_once_for_all_its_addresses(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    find = suppression.find

    def count(connection: Connection, keys: Any) -> Any:
        asked.append(len(keys))
        return find(connection, keys)

    monkeypatch.setattr(suppression, "find", count)
    bodies = [{**MAIL, "cc": [f"{n}@example.com"]} for n in range(20)]
    assert client.post("/api/messages", json=bodies).status_code == 202
    assert asked == [21]
