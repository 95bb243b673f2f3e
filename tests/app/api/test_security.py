import base64
import re

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Connection, text

from app import db
from app.api.factory import SECTIONS
from app.auth import tokens as auth

# An agent without a secret for webhooks has none, whoever calls.
WEBHOOKS = {"/api/webhooks/smtp/inbound", "/api/webhooks/smtp/status"}
PUBLIC = {"/health", "/health/live", "/health/ready"} | WEBHOOKS


def _somewhere(rule: str) -> str:
    return re.sub(r"<\w+>", "smtp", re.sub(r"<id:\w+>", "1", rule))


def _basic(name: str, token: str) -> dict[str, str]:
    pair = base64.b64encode(f"{name}:{token}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


@pytest.mark.parametrize("way", ["bearer", "header", "basic"])
def test_a_token_may_be_shown_in_three_ways(anonymous: FlaskClient, token: str, way: str) -> None:
    headers = {
        "bearer": {"Authorization": f"Bearer {token}"},
        "header": {"X-API-Token": token},
        "basic": _basic("shop", token),
    }[way]
    assert anonymous.get("/api/messages", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer postroom_wrong"},
        {"Authorization": "Digest username=shop"},
        {"Authorization": "Basic !!!"},
        {"X-API-Token": ""},
        {"X-API-Token": "postroom_wrong"},
        _basic("shop", "postroom_wrong"),
        _basic("shop", ""),
    ],
)
def test_without_a_good_token_the_answer_is_401(
    anonymous: FlaskClient, token: str, headers: dict[str, str]
) -> None:
    response = anonymous.get("/api/messages", headers=headers)
    assert response.status_code == 401
    assert response.content_type == "application/problem+json"
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


def test_the_name_in_basic_must_be_the_tokens_own(anonymous: FlaskClient, token: str) -> None:
    assert anonymous.get("/api/messages", headers=_basic("else", token)).status_code == 401


@pytest.mark.parametrize("column", ["expires_at", "revoked_at"])
def test_a_token_that_is_good_no_more_is_answered_with_401(
    client: FlaskClient, connection: Connection, column: str
) -> None:
    connection.execute(text(f"UPDATE api_tokens SET {column} = now()"))
    response = client.get("/api/messages")
    assert response.status_code == 401
    assert column[:6] in response.get_json()["detail"]


@pytest.mark.parametrize("scope", auth.SCOPES)
def test_a_token_opens_what_its_scope_allows_and_nothing_else(
    app: Flask, connection: Connection, scope: auth.Scope
) -> None:
    token = auth.create_token(connection, name="narrow", scopes=[scope])
    client = app.test_client()
    for section in SECTIONS:
        for operation, _ in section.operations:
            path = _somewhere(operation.path)
            response = client.open(path, method=operation.method, headers={"X-API-Token": token})
            allowed = operation.public or operation.scope in {None, scope}
            assert (response.status_code != 403) == allowed, path


def test_every_route_but_health_and_signed_webhooks_needs_a_token(anonymous: FlaskClient) -> None:
    for section in SECTIONS:
        for operation, _ in section.operations:
            path = _somewhere(operation.path)
            response = anonymous.open(path, method=operation.method)
            assert (response.status_code != 401) == (path in PUBLIC), path


def test_a_connection_that_died_in_the_pool_is_not_noticed(
    client: FlaskClient, connection: Connection
) -> None:
    assert client.get("/api/messages").status_code == 200
    with db.transaction() as other:
        other.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    assert client.get("/api/messages").status_code == 200
