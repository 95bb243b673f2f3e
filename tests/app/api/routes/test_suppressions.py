"""The suppression list over HTTP."""

from typing import Any

from flask.testing import FlaskClient

PHONE = "+18045551234"


def _add(client: FlaskClient, channel: str, address: str, **fields: Any) -> dict[str, Any]:
    body = {"channel": channel, "address": address, **fields}
    response = client.post("/api/suppressions", json=body)
    assert response.status_code == 201, response.text
    return dict(response.get_json())


def _list(client: FlaskClient, **query: Any) -> list[dict[str, Any]]:
    response = client.get("/api/suppressions", query_string=query)
    assert response.status_code == 200, response.text
    return list(response.get_json()["suppressions"])


def test_suppression_is_added_listed_and_removed(client: FlaskClient) -> None:
    entry = _add(client, "sms", "+1 (804) 555-1234", detail="asked by phone")
    expected = {
        "id": 1, "channel_family": "phone", "address": PHONE, "reason": "manual",
        "detail": "asked by phone", "agent": None, "message_id": None, "created_by": "shop",
    }  # fmt: skip
    assert {name: entry[name] for name in expected} == expected
    assert entry["created_at"].endswith("Z")
    assert _list(client) == [entry]
    assert _list(client, channel="mms", address=PHONE) == [entry]
    assert _list(client, reason="complaint") == []
    removed = client.delete("/api/suppressions/1")
    assert (removed.status_code, removed.get_json()) == (200, entry)
    assert client.delete("/api/suppressions/1").status_code == 404
    assert _list(client) == []


def test_existing_suppression_is_returned_unchanged(client: FlaskClient) -> None:
    first = _add(client, "sms", PHONE, reason="opt_out")
    body = {"channel": "mms", "address": PHONE, "reason": "opt_out"}
    again = client.post("/api/suppressions", json=body)
    assert (again.status_code, again.get_json()) == (200, first)


def test_invalid_suppressions_are_rejected_with_their_field(client: FlaskClient) -> None:
    rows = [
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
    ]
    failures = []
    for body, field in rows:
        problem = client.post("/api/suppressions", json=body).get_json()
        if problem["status"] != 422 or [one["field"] for one in problem["errors"]] != [field]:
            failures.append((body, problem))
    assert not failures
    assert _list(client) == []
