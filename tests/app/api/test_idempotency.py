"""`Idempotency-Key`: repeated requests get the stored response."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Connection, text

from app import db
from app.auth.tokens import create_token
from tests.app.outbox.driver import Outbox

SMS = {"from": "+12016661234", "to": "+18045551234", "body": "hi"}
KEY = {"Idempotency-Key": "order-1"}
PATH = "/api/messages/sms"


def _count(connection: Connection) -> int:
    return int(connection.execute(text("SELECT count(*) FROM messages")).scalar_one())


def test_repeated_request_gets_the_first_response(
    client: FlaskClient, connection: Connection
) -> None:
    first = client.post(PATH, json=SMS, headers=KEY)
    again = client.post(PATH, json=SMS, headers=KEY)
    assert (first.status_code, first.text, first.headers["Location"]) == (
        again.status_code, again.text, again.headers["Location"],
    )  # fmt: skip
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert _count(connection) == 1


def test_repeated_list_gets_the_first_response_with_its_rejections(
    client: FlaskClient, connection: Connection
) -> None:
    body = [{**SMS, "channel": "sms"}, {"channel": "sms"}]
    first, again = (client.post("/api/messages", json=body, headers=KEY) for _ in range(2))
    assert first.text == again.text
    assert len(again.get_json()["rejected"]) == 1
    assert _count(connection) == 1


def test_repeat_is_answered_even_if_the_message_would_now_be_invalid(
    client: FlaskClient, connection: Connection
) -> None:
    outbox = Outbox(connection)
    first = client.post(PATH, json=SMS, headers=KEY)
    outbox.execute(
        "INSERT INTO suppressions (channel_family, address, reason, created_by)"
        " VALUES ('phone', :address, 'manual', 'ann')",
        address=SMS["to"],
    )
    assert client.post(PATH, json=SMS, headers=KEY).text == first.text


def test_key_of_a_different_request_is_rejected(
    client: FlaskClient, connection: Connection
) -> None:
    client.post(PATH, json=SMS, headers=KEY)
    for path in (PATH, "/api/messages"):
        body = {**SMS, "channel": "sms", "body": "bye"}
        rejected = client.post(path, json=body, headers=KEY)
        assert rejected.status_code == 422, path
        assert [error["field"] for error in rejected.get_json()["errors"]] == ["Idempotency-Key"]
    assert _count(connection) == 1


def test_keys_of_different_clients_are_independent(
    app: Flask, client: FlaskClient, connection: Connection
) -> None:
    other = create_token(connection, name="other", scopes=["submit"])
    client.post(PATH, json=SMS, headers=KEY)
    response = app.test_client().post(PATH, json=SMS, headers={**KEY, "X-API-Token": other})
    assert response.status_code == 202
    assert _count(connection) == 2


def test_key_of_a_rejected_request_can_be_used_again(
    client: FlaskClient, connection: Connection
) -> None:
    assert client.post(PATH, json={}, headers=KEY).status_code == 422
    assert client.post(PATH, json=SMS, headers=KEY).status_code == 202
    assert _count(connection) == 1


def test_key_can_be_used_again_after_24_hours(client: FlaskClient, connection: Connection) -> None:
    client.post(PATH, json=SMS, headers=KEY)
    age = text("UPDATE idempotency_keys SET created_at = now() - CAST(:age AS interval)")
    connection.execute(age, {"age": "23 hours 59 minutes"})
    assert "Idempotent-Replayed" in client.post(PATH, json=SMS, headers=KEY).headers
    connection.execute(age, {"age": "24 hours"})
    changed = {**SMS, "body": "bye"}
    assert client.post(PATH, json=changed, headers=KEY).status_code == 202
    assert "Idempotent-Replayed" in client.post(PATH, json=changed, headers=KEY).headers
    assert _count(connection) == 2


def test_malformed_keys_are_rejected(client: FlaskClient, connection: Connection) -> None:
    for key in ("", "a b", "x" * 256, "schlüssel"):
        response = client.post(PATH, json=SMS, headers={"Idempotency-Key": key})
        assert response.status_code == 422, key
    assert _count(connection) == 0


def test_repeat_while_the_first_request_is_in_progress_is_a_conflict(
    app: Flask, client: FlaskClient, connection: Connection, token: str
) -> None:
    headers = {**KEY, "X-API-Token": token}
    with ThreadPoolExecutor(1) as pool:
        with db.transaction() as other:
            other.execute(text("LOCK TABLE conversations IN ACCESS EXCLUSIVE MODE"))
            first = pool.submit(app.test_client().post, PATH, json=SMS, headers=headers)
            waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
            while not connection.execute(waiting).scalar_one():
                pass
            second = client.post(PATH, json=SMS, headers=KEY)
        assert first.result().status_code == 202
    assert (second.status_code, second.headers["Retry-After"]) == (409, "1")
    assert "Idempotent-Replayed" in client.post(PATH, json=SMS, headers=KEY).headers


def test_of_many_concurrent_requests_one_stores_the_message(
    app: Flask, connection: Connection, token: str
) -> None:
    count = 8
    barrier = Barrier(count)

    def submit() -> tuple[int, bool, str]:
        client = app.test_client()
        barrier.wait()
        response = client.post(PATH, json=SMS, headers={**KEY, "X-API-Token": token})
        return response.status_code, "Idempotent-Replayed" in response.headers, response.text

    with ThreadPoolExecutor(count) as pool:
        responses = [one.result() for one in [pool.submit(submit) for _ in range(count)]]
    kinds = [response[:2] for response in responses]
    assert kinds.count((202, False)) == 1
    assert {*kinds} <= {(202, False), (202, True), (409, False)}
    assert len({body for status, _, body in responses if status == 202}) == 1
    assert _count(connection) == 1


def test_submission_that_fails_halfway_stores_nothing(
    client: FlaskClient, connection: Connection, request: pytest.FixtureRequest
) -> None:
    drop = text("ALTER TABLE idempotency_keys DROP CONSTRAINT IF EXISTS idempotency_keys_check")
    request.addfinalizer(lambda: connection.execute(drop))
    connection.execute(text("ALTER TABLE idempotency_keys ADD CHECK (false) NOT VALID"))
    assert client.post(PATH, json=SMS, headers=KEY).status_code == 500
    assert _count(connection) == 0
    connection.execute(drop)
    assert client.post(PATH, json=SMS, headers=KEY).status_code == 202
