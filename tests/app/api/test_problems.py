"""Error responses: problem details."""

import logging

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Connection, text
from structlog.testing import capture_logs

from app import db, logs
from app.api.factory import create_app
from app.api.routes import messages
from tests.servers import read_only

SMS = {"to": "+18045551234", "from": "+12016661234", "body": "hi"}


def test_every_error_has_the_same_format(client: FlaskClient) -> None:
    rows = [
        ("POST", "/api/messages/sms", b"{", 400),
        ("GET", "/nowhere", None, 404),
        ("GET", "/api/messages/999", None, 404),
        ("GET", "/api/messages/99999999999999999999", None, 404),
        ("GET", "/api/messages/", None, 404),
        ("DELETE", "/api/messages", None, 405),
        ("POST", "/api/messages/sms", b"[]", 422),
    ]
    failures = []
    for method, path, body, status in rows:
        content_type = "application/json" if body else None
        response = client.open(path, method=method, data=body, content_type=content_type)
        problem = response.get_json()
        if (
            (response.status_code, response.content_type) != (status, "application/problem+json")
            or problem.keys()
            != {"type", "title", "status", "detail", "request_id", "errors", "rejected"}
            or problem["status"] != status
            or problem["request_id"] != response.headers["X-Request-ID"]
            or bool(problem["errors"]) != (status == 422)
        ):
            failures.append((method, path, response.status_code, problem))
    assert not failures


def test_405_names_the_allowed_methods(client: FlaskClient) -> None:
    assert "GET" in client.delete("/api/messages").headers["Allow"]


def test_body_over_the_size_limit_is_rejected(
    environment: pytest.MonkeyPatch, redis_url: str, database: str, token: str
) -> None:
    app = create_app()
    app.config["MAX_CONTENT_LENGTH"] = 100
    headers = {"X-API-Token": token}
    body = {**SMS, "body": "x" * 100}
    response = app.test_client().post("/api/messages/sms", json=body, headers=headers)
    assert response.status_code == 413
    assert response.get_json()["detail"] == "The request body is too large."


def test_details_of_a_defect_are_logged_and_not_sent_to_the_client(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the cause")

    monkeypatch.setattr(messages, "validate", fail)
    with capture_logs() as lines:
        response = client.post("/api/messages/sms", json=SMS)
    assert response.status_code == 500
    assert "the cause" not in response.text
    [line] = [line for line in lines if line["event"] == "request failed"]
    assert "the cause" in str(line["exc_info"])


def test_while_the_database_is_down_the_client_is_asked_to_try_again(
    environment: pytest.MonkeyPatch, redis_url: str
) -> None:
    environment.setenv("DATABASE_URL", "postgresql://postroom@127.0.0.1:9/postroom")
    response = create_app().test_client().get("/api/messages", headers={"X-API-Token": "x"})
    assert response.status_code == 503
    assert "Retry-After" in response.headers


def test_while_the_database_is_read_only_reads_work_and_writes_are_to_be_tried_again(
    client: FlaskClient, database: str, connection: Connection
) -> None:
    number = client.post("/api/messages/sms", json=SMS).get_json()["id"]
    connection.execute(text("UPDATE api_tokens SET last_used_at = NULL"))
    reads = [
        rule.rule.replace("<id:message_id>", str(number))
        for rule in client.application.url_map.iter_rules()
        if "GET" in (rule.methods or ()) and rule.arguments <= {"message_id"}
    ]
    writes: list[tuple[str, object]] = [
        ("/api/messages/sms", SMS),
        (f"/api/messages/{number}/cancel", None),
        ("/api/suppressions", {"channel": "sms", "address": "+18045551234"}),
        ("/api/agents/gateway/pause", {}),
        ("/api/scheduler/pause", {}),
    ]
    failures = []
    with read_only(database):
        for path in reads:
            response = client.get(path)
            if response.status_code >= 500 and path != "/health/ready":
                failures.append(("GET", path, response.status_code))
        for path, body in writes:
            response = client.post(path, json=body)
            if response.status_code != 503 or response.headers.get("Retry-After") != "5":
                failures.append(("POST", path, response.status_code))
        refused = client.post("/api/messages/sms", json=SMS)
        assert refused.get_json()["detail"] == "The database is read-only. Try again."
    assert not failures
    assert client.post("/api/messages/sms", json=SMS).status_code == 202
    assert connection.execute(text("SELECT last_used_at FROM api_tokens")).scalar_one()


def test_log_of_a_database_error_contains_no_values(database: str) -> None:
    with pytest.raises(Exception, match="secret") as caught, db.transaction() as connection:
        connection.execute(
            text("INSERT INTO messages (channel, recipient, body) VALUES ('fax', 'x', :body)"),
            {"body": "secret"},
        )
    record = logging.LogRecord(
        "x", logging.ERROR, "", 0, "failed", None, (caught.type, caught.value, caught.tb)
    )
    line = logs.make_formatter().format(record)
    assert "secret" not in line
    assert "SQLSTATE 23514" in line
    assert "test_problems.py" in line
