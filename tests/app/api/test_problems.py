import logging

import pytest
from flask.testing import FlaskClient
from structlog.testing import capture_logs

from app import logs
from app.api.factory import create_app
from app.api.routes import messages

SMS = {"to": "+18045551234", "from": "+12016661234", "body": "hi"}


@pytest.mark.parametrize(
    ("method", "path", "body", "content_type", "status"),
    [
        ("POST", "/api/messages/sms", b'{"to": ', "application/json", 400),
        ("POST", "/api/messages/sms", b"\xff", "application/json", 400),
        ("POST", "/api/messages/sms", b'{"payload": NaN}', "application/json", 400),
        ("POST", "/api/messages/sms", b"[" * 100_000, "application/json", 400),
        ("POST", "/api/messages/sms", b"9" * 5_000, "application/json", 400),
        ("POST", "/api/messages/sms", b"", "application/json", 400),
        ("GET", "/nowhere", None, None, 404),
        ("GET", "/api/messages/999", None, None, 404),
        ("GET", "/api/messages/99999999999999999999", None, None, 404),
        ("GET", "/api/messages/", None, None, 404),
        ("DELETE", "/api/messages", None, None, 405),
        ("POST", "/api/messages/sms", b"to=1", "application/x-www-form-urlencoded", 415),
        ("POST", "/api/messages/sms", b"{}", None, 415),
        ("POST", "/api/messages/sms", b"[]", "application/json", 422),
        ("POST", "/api/messages/sms", b"null", "application/json", 422),
        ("POST", "/api/messages", b'"text"', "application/json", 422),
        ("POST", "/api/messages/sms", b'{"\\ud800": 1}', "application/json", 422),
    ],
)
def test_every_error_has_the_same_shape(
    client: FlaskClient,
    method: str,
    path: str,
    body: bytes | None,
    content_type: str | None,
    status: int,
) -> None:
    response = client.open(path, method=method, data=body, content_type=content_type)
    assert response.status_code == status
    assert response.content_type == "application/problem+json"
    problem = response.get_json()
    assert problem.keys() == {
        "type", "title", "status", "detail", "request_id", "errors", "rejected",
    }  # fmt: skip
    assert problem["status"] == status
    assert problem["request_id"] == response.headers["X-Request-ID"]
    assert (status != 422) or problem["errors"]


def test_a_405_names_the_methods_that_are_allowed(client: FlaskClient) -> None:
    assert "GET" in client.delete("/api/messages").headers["Allow"]


def test_a_body_over_the_limit_is_refused(
    environment: pytest.MonkeyPatch, client: FlaskClient, token: str
) -> None:
    client.application.config["MAX_CONTENT_LENGTH"] = 100
    response = client.post("/api/messages/sms", json={**SMS, "body": "x" * 100})
    assert response.status_code == 413
    assert response.content_type == "application/problem+json"


def test_a_defect_tells_the_client_nothing_and_the_log_where(
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


def test_while_the_database_is_down_the_answer_is_503(
    environment: pytest.MonkeyPatch, redis_url: str
) -> None:
    environment.setenv("DATABASE_URL", "postgresql://postroom@127.0.0.1:9/postroom")
    response = create_app().test_client().get("/api/messages", headers={"X-API-Token": "x"})
    assert response.status_code == 503
    assert "Retry-After" in response.headers


def test_no_error_of_the_database_reaches_the_log_with_its_values(client: FlaskClient) -> None:
    with pytest.raises(Exception, match="secret") as caught:
        _break_a_constraint()
    record = logging.LogRecord(
        "x", logging.ERROR, "", 0, "failed", None, (caught.type, caught.value, caught.tb)
    )
    line = logs.make_formatter().format(record)
    assert "secret" not in line
    assert "SQLSTATE 23514" in line
    assert "test_problems.py" in line


def _break_a_constraint() -> None:
    from sqlalchemy import text

    from app import db

    with db.transaction() as connection:
        connection.execute(
            text("INSERT INTO messages (channel, recipient, body) VALUES ('fax', 'x', :body)"),
            {"body": "secret"},
        )


@pytest.mark.parametrize(
    ("given", "kept"), [("abc-1.2:3", True), ("a b", False), ("x" * 65, False), ("", False)]
)
def test_a_request_keeps_the_id_it_came_with_where_that_is_harmless(
    anonymous: FlaskClient, given: str, kept: bool
) -> None:
    response = anonymous.get("/health/live", headers={"X-Request-ID": given})
    assert (response.headers["X-Request-ID"] == given) == kept


def test_the_log_of_a_request_holds_neither_address_nor_content(client: FlaskClient) -> None:
    with capture_logs() as lines:
        client.post("/api/messages/sms", json=SMS)
        client.get("/api/messages?recipient=%2B18045551234")
    assert [line["status"] for line in lines] == [202, 200]
    assert SMS["to"] not in str(lines)
