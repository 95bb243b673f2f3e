"""The scheduler over HTTP: pause, resume and scan."""

import select
from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import Connection, text

from tests.app.outbox.driver import Outbox


def test_scheduler_is_paused_and_resumed(client: FlaskClient) -> None:
    rows = [
        ("pause", "paused"),
        ("pause", "paused"),
        ("run-now", "paused"),
        ("resume", "running"),
        ("resume", "running"),
        ("toggle", "paused"),
        ("toggle", "running"),
    ]
    failures = []
    for action, status in rows:
        changed = client.post(f"/api/scheduler/{action}").get_json()
        shown = client.get("/api/scheduler").get_json()
        if (changed["status"], shown["status"], shown["changed_by"]) != (status, status, "shop"):
            failures.append((action, changed, shown))
    assert not failures


def test_scheduler_shows_what_waits(client: FlaskClient, connection: Connection) -> None:
    shown = client.get("/api/scheduler").get_json()
    assert (shown["changed_by"], shown["last_scan_at"], shown["last_scan_age_seconds"]) == (
        None, None, None,
    )  # fmt: skip
    assert (shown["oldest_due_age_seconds"], shown["unrouted"]) == (None, 0)
    outbox = Outbox(connection)
    outbox.move(outbox.one(), due_at="-1 minute")
    outbox.insert()
    outbox.execute("UPDATE scheduler_state SET last_scan_at = now() - interval '3 seconds'")
    shown = client.get("/api/scheduler").get_json()
    assert shown["last_scan_age_seconds"] >= 3
    assert shown["oldest_due_age_seconds"] >= 60
    assert shown["unrouted"] == 1


def test_workers_are_notified_when_sending_can_continue(
    client: FlaskClient, connection: Connection
) -> None:
    connection.execute(text("LISTEN outbox"))
    driver: Any = connection.connection.driver_connection
    for path in ("scheduler/run-now", "scheduler/resume", "agents/smtp/resume"):
        assert client.post(f"/api/{path}").status_code == 200
        while not driver.notifies:
            select.select([driver], [], [])
            driver.poll()
        assert [one.channel for one in driver.notifies] == ["outbox"], path
        driver.notifies.clear()
