"""Authentication and scopes."""

import base64
import re

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Connection, text

from app import db
from app.api.factory import SECTIONS
from app.auth.tokens import SCOPES, create_token

# An agent without a secret has no webhooks, whoever calls.
WEBHOOKS = {"/api/webhooks/smtp/inbound", "/api/webhooks/smtp/status"}
PUBLIC = {"/", "/health", "/health/live", "/health/ready"} | WEBHOOKS


def _path(rule: str) -> str:
    return re.sub(r"<\w+>", "smtp", re.sub(r"<id:\w+>", "1", rule))


def _basic(name: str, token: str) -> dict[str, str]:
    pair = base64.b64encode(f"{name}:{token}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


def test_token_is_accepted_in_three_headers(anonymous: FlaskClient, token: str) -> None:
    rows = [
        {"Authorization": f"Bearer {token}"},
        {"X-API-Token": token},
        _basic("shop", token),
    ]
    for headers in rows:
        assert anonymous.get("/api/messages", headers=headers).status_code == 200, headers


def test_request_without_a_valid_token_is_rejected(anonymous: FlaskClient, token: str) -> None:
    rows = [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer postroom_wrong"},
        {"Authorization": "Digest username=shop"},
        {"Authorization": "Basic !!!"},
        {"X-API-Token": ""},
        {"X-API-Token": "postroom_wrong"},
        _basic("shop", "postroom_wrong"),
        _basic("shop", ""),
        _basic("other", token),
        {"Authorization": "Basic \xff\xfe"},
        {"Authorization": "Bearer \xff\xfe"},
        {"X-API-Token": "\xff\xfe\0"},
    ]
    failures = []
    for headers in rows:
        response = anonymous.get("/api/messages", headers=headers)
        if (response.status_code, response.content_type) != (
            401,
            "application/problem+json",
        ) or not response.headers["WWW-Authenticate"].startswith("Bearer"):
            failures.append((headers, response.status_code))
    assert not failures


def test_browser_is_asked_for_a_login(anonymous: FlaskClient) -> None:
    # Browsers read only the first challenge of a header.
    challenges = anonymous.get("/docs").headers.getlist("WWW-Authenticate")
    assert [challenge.partition(" ")[0] for challenge in challenges] == ["Bearer", "Basic"]


def test_expired_and_revoked_tokens_are_rejected(
    client: FlaskClient, connection: Connection
) -> None:
    for column, reason in (("expires_at", "has expired"), ("revoked_at", "has been revoked")):
        connection.execute(text(f"UPDATE api_tokens SET {column} = now()"))
        response = client.get("/api/messages")
        assert response.status_code == 401
        assert reason in response.get_json()["detail"]


def test_every_route_requires_its_scope(app: Flask, connection: Connection) -> None:
    failures = []
    for scope in SCOPES:
        token = create_token(connection, name="narrow", scopes=[scope])
        client = app.test_client()
        for section in SECTIONS:
            for operation, _ in section.operations:
                path = _path(operation.path)
                headers = {"X-API-Token": token}
                response = client.open(path, method=operation.method, headers=headers)
                is_allowed = operation.public or operation.scope in {None, scope}
                if (response.status_code != 403) != is_allowed:
                    failures.append((scope, operation.method, path, response.status_code))
    assert not failures


def test_only_the_start_page_health_checks_and_signed_webhooks_are_public(
    anonymous: FlaskClient,
) -> None:
    failures = []
    for section in SECTIONS:
        for operation, _ in section.operations:
            path = _path(operation.path)
            response = anonymous.open(path, method=operation.method)
            if (response.status_code != 401) != (path in PUBLIC):
                failures.append((operation.method, path, response.status_code))
    assert not failures


def test_connections_that_died_in_the_pool_are_replaced(
    client: FlaskClient, connection: Connection
) -> None:
    assert client.get("/api/messages").status_code == 200
    with db.transaction() as other:
        other.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'postroom' AND datname = current_database()"
                " AND pid <> pg_backend_pid()"
            )
        )
    assert client.get("/api/messages").status_code == 200
