from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Connection, text

from app import db
from app.auth import tokens as auth

SMS = {"from": "+12016661234", "to": "+18045551234", "body": "hi"}
KEY = {"Idempotency-Key": "order-1"}


def _count(connection: Connection) -> int:
    return int(connection.execute(text("SELECT count(*) FROM messages")).scalar_one())


def test_the_same_request_again_gets_the_first_answer(
    client: FlaskClient, connection: Connection
) -> None:
    first = client.post("/api/messages/sms", json=SMS, headers=KEY)
    again = client.post("/api/messages/sms", json=SMS, headers=KEY)
    assert (first.status_code, first.text, first.headers["Location"]) == (
        again.status_code, again.text, again.headers["Location"],
    )  # fmt: skip
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert _count(connection) == 1


@pytest.mark.parametrize("path", ["/api/messages/sms", "/api/messages"])
def test_another_request_with_the_same_key_is_refused(
    client: FlaskClient, connection: Connection, path: str
) -> None:
    client.post("/api/messages/sms", json=SMS, headers=KEY)
    other = client.post(path, json={**SMS, "channel": "sms", "body": "bye"}, headers=KEY)
    assert other.status_code == 422
    assert other.get_json()["errors"][0]["field"] == "Idempotency-Key"
    assert _count(connection) == 1


def test_a_key_belongs_to_its_client(
    app: Flask, client: FlaskClient, connection: Connection
) -> None:
    other = auth.create_token(connection, name="other", scopes=["submit"])
    client.post("/api/messages/sms", json=SMS, headers=KEY)
    answer = app.test_client().post(
        "/api/messages/sms", json=SMS, headers={**KEY, "X-API-Token": other}
    )
    assert answer.status_code == 202
    assert _count(connection) == 2


def test_a_key_is_still_free_after_a_refusal(client: FlaskClient, connection: Connection) -> None:
    assert client.post("/api/messages/sms", json={}, headers=KEY).status_code == 422
    assert client.post("/api/messages/sms", json=SMS, headers=KEY).status_code == 202
    assert _count(connection) == 1


def test_a_key_is_free_again_after_24_hours(client: FlaskClient, connection: Connection) -> None:
    client.post("/api/messages/sms", json=SMS, headers=KEY)
    age = text("UPDATE idempotency_keys SET created_at = now() - CAST(:age AS interval)")
    connection.execute(age, {"age": "23 hours 59 minutes"})
    again = client.post("/api/messages/sms", json=SMS, headers=KEY)
    assert "Idempotent-Replayed" in again.headers
    connection.execute(age, {"age": "24 hours"})
    changed = {**SMS, "body": "bye"}
    assert client.post("/api/messages/sms", json=changed, headers=KEY).status_code == 202
    again = client.post("/api/messages/sms", json=changed, headers=KEY)
    assert "Idempotent-Replayed" in again.headers
    assert _count(connection) == 2


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "schlüssel"])
def test_a_key_that_is_none_is_refused(
    client: FlaskClient, connection: Connection, key: str
) -> None:
    response = client.post("/api/messages/sms", json=SMS, headers={"Idempotency-Key": key})
    assert response.status_code == 422
    assert _count(connection) == 0


def test_a_list_is_answered_again_with_its_rejections(
    client: FlaskClient, connection: Connection
) -> None:
    body = [{**SMS, "channel": "sms"}, {"channel": "sms"}]
    answers = [client.post("/api/messages", json=body, headers=KEY) for _ in range(2)]
    assert answers[0].text == answers[1].text
    assert _count(connection) == 1


def test_while_the_first_request_is_in_progress_the_answer_is_409(
    app: Flask, client: FlaskClient, connection: Connection, token: str
) -> None:
    headers = {**KEY, "X-API-Token": token}
    with ThreadPoolExecutor(1) as pool:
        with db.transaction() as other:
            other.execute(text("LOCK TABLE conversations IN ACCESS EXCLUSIVE MODE"))
            first = pool.submit(
                app.test_client().post, "/api/messages/sms", json=SMS, headers=headers
            )
            waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
            while not connection.execute(waiting).scalar_one():
                assert not first.done()
            second = client.post("/api/messages/sms", json=SMS, headers=KEY)
        assert first.result().status_code == 202
    assert second.status_code == 409
    assert second.headers["Retry-After"] == "1"
    assert "Idempotent-Replayed" in client.post("/api/messages/sms", json=SMS, headers=KEY).headers


def test_of_many_requests_at_once_one_does_the_work(
    app: Flask, connection: Connection, token: str
) -> None:
    at_once = 8
    barrier = Barrier(at_once)

    def submit() -> tuple[int, bool, str]:
        client = app.test_client()
        barrier.wait()
        answer = client.post("/api/messages/sms", json=SMS, headers={**KEY, "X-API-Token": token})
        return answer.status_code, "Idempotent-Replayed" in answer.headers, answer.text

    with ThreadPoolExecutor(at_once) as pool:
        answers = [one.result() for one in [pool.submit(submit) for _ in range(at_once)]]
    assert [answer[:2] for answer in answers].count((202, False)) == 1
    assert {answer[:2] for answer in answers} <= {(202, False), (202, True), (409, False)}
    assert len({text for status, _, text in answers if status == 202}) == 1
    assert _count(connection) == 1


def test_a_submission_that_fails_on_its_way_leaves_nothing(
    client: FlaskClient, connection: Connection
) -> None:
    connection.execute(text("ALTER TABLE idempotency_keys ADD CHECK (false) NOT VALID"))
    assert client.post("/api/messages/sms", json=SMS, headers=KEY).status_code == 500
    assert _count(connection) == 0
    connection.execute(text("ALTER TABLE idempotency_keys DROP CONSTRAINT idempotency_keys_check"))
    assert client.post("/api/messages/sms", json=SMS, headers=KEY).status_code == 202
