"""Logs are one line per event, without message content or secrets."""

import json
import logging

import pytest
from sqlalchemy import Connection, text

from app import logs

SECRET = "secret-body"


@pytest.fixture(params=["json", "console"])
def log_format(request: pytest.FixtureRequest, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("POSTROOM_LOG_FORMAT", request.param)


def line(level: int = logging.WARNING, **record: object) -> str:
    made = logging.makeLogRecord({"levelno": level, "levelname": "WARNING", **record})
    return logs.make_formatter().format(made)


@pytest.mark.usefixtures("log_format")
def test_line_contains_the_message_id_and_no_extras_of_libraries() -> None:
    logged = line(msg="accepted", message_id=4711, data={"args": SECRET}, body=SECRET)
    assert "4711" in logged
    assert SECRET not in logged


@pytest.mark.usefixtures("log_format")
def test_database_errors_are_logged_without_the_values_they_quote(connection: Connection) -> None:
    with pytest.raises(Exception, match="check constraint") as raised:
        connection.execute(
            text("INSERT INTO messages (channel, recipient, body) VALUES ('fax', 'x', :body)"),
            {"body": SECRET},
        )
    logged = line(msg="failed", exc_info=(raised.type, raised.value, raised.tb))
    assert SECRET not in logged
    assert "IntegrityError" in logged
    assert "CheckViolation: SQLSTATE 23514" in logged


def test_json_lines_have_named_fields(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("POSTROOM_LOG_FORMAT", "json")
    read = json.loads(line(msg="accepted %s", args=("well",), agent="gateway"))
    assert read["event"] == "accepted well"
    assert read["agent"] == "gateway"
    assert read["timestamp"].endswith("Z")
