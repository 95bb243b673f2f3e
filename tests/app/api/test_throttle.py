"""Rate limits for submissions."""

from typing import Any

import pytest
import redis
from flask.testing import FlaskClient
from sqlalchemy import Connection

from app.api.factory import create_app
from app.auth.tokens import create_token
from app.settings import settings
from tests.app.outbox.driver import Outbox

SMS = {"from": "+12016661234", "to": "+18045551234", "body": "hi"}
PATH = "/api/messages/sms"


def test_client_over_its_rate_limit_is_told_when_to_try_again(
    environment: pytest.MonkeyPatch, redis_url: str, connection: Connection
) -> None:
    environment.setenv("POSTROOM_SUBMIT_RATE_LIMITS", '["3/hour"]')
    settings.cache_clear()
    Outbox(connection).one()
    client = create_app().test_client()
    shop, other = (
        {"X-API-Token": create_token(connection, name=name, scopes=["submit"])}
        for name in ("shop", "other")
    )
    replies = "/api/conversations/1/messages"
    rows = [(PATH, SMS), (replies, {"body": "hi"}), (PATH, {}), (PATH, SMS), (replies, {})]
    responses = [client.post(path, json=body, headers=shop) for path, body in rows]
    assert [response.status_code for response in responses] == [202, 202, 422, 429, 429]
    assert int(responses[3].headers["Retry-After"]) > 0
    assert responses[3].get_json()["detail"].startswith("Rate limit exceeded: 3/hour.")
    assert client.post(PATH, json=SMS, headers=other).status_code == 202


def test_rate_limit_counts_the_messages_of_a_list(
    environment: pytest.MonkeyPatch, redis_url: str, database: str, token: str
) -> None:
    environment.setenv("POSTROOM_SUBMIT_RATE_LIMITS", '["10/hour", "1000/day"]')
    settings.cache_clear()
    client = create_app().test_client()
    lengths = [11, 6, 5, 3, 1]
    message = {**SMS, "channel": "sms"}
    responses = [
        client.post("/api/messages", json=[message] * length, headers={"X-API-Token": token})
        for length in lengths
    ]
    # The rejected list of 11 and that of 5 count as one request each.
    assert [response.status_code for response in responses] == [422, 202, 429, 429, 202]
    assert responses[0].get_json()["errors"] == [
        {"field": "", "reason": "must be a list of at most 10 messages, by the limit 10/hour"}
    ]
    assert int(responses[2].headers["Retry-After"]) > 0


def test_messages_are_accepted_without_redis_and_it_is_asked_once(
    environment: pytest.MonkeyPatch, database: str, token: str
) -> None:
    environment.setenv("REDIS_URL", "redis://127.0.0.1:9/0")
    settings.cache_clear()
    attempts: list[object] = []
    connect: Any = redis.Connection.connect

    def record(connection: redis.Connection) -> None:
        attempts.append(connection)
        connect(connection)

    environment.setattr(redis.Connection, "connect", record)
    client: FlaskClient = create_app().test_client()
    for _ in range(3):
        response = client.post(PATH, json=SMS, headers={"X-API-Token": token})
        assert response.status_code == 202
    assert len(attempts) == 1
