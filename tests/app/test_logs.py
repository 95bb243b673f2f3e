"""Logs: one line an event, and nothing private in it."""

import json
import logging

import pytest
from sqlalchemy import Connection, text

from app import logs

SECRET = "the-body-nobody-may-see"


@pytest.fixture(params=["json", "console"])
def logged(request: pytest.FixtureRequest, environment: pytest.MonkeyPatch) -> logging.Logger:
    environment.setenv("POSTROOM_LOG_FORMAT", request.param)
    return logging.getLogger("app.test")


def line(level: int = logging.WARNING, **record: object) -> str:
    made = logging.makeLogRecord({"levelno": level, "levelname": "WARNING", **record})
    return logs.make_formatter().format(made)


def test_a_line_names_the_message_it_is_about(logged: logging.Logger) -> None:
    assert "4711" in line(msg="accepted", message_id=4711)


def test_what_libraries_attach_to_a_record_is_not_written(logged: logging.Logger) -> None:
    assert SECRET not in line(msg="task failed", data={"args": SECRET}, body=SECRET)


def test_an_error_of_the_database_is_written_without_the_values_it_quotes(
    logged: logging.Logger, connection: Connection
) -> None:
    with pytest.raises(Exception, match="check constraint") as raised:
        connection.execute(
            text("INSERT INTO messages (channel, recipient, body) VALUES ('fax', 'x', :body)"),
            {"body": SECRET},
        )
    written = line(msg="failed", exc_info=(raised.type, raised.value, raised.tb))
    assert SECRET not in written
    assert "IntegrityError" in written


def test_json_lines_can_be_read_by_programs(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("POSTROOM_LOG_FORMAT", "json")
    read = json.loads(line(msg="accepted %s", args=("well",), agent="gateway"))
    assert read["event"] == "accepted well"
    assert read["agent"] == "gateway"
    assert read["timestamp"].endswith("Z")
