"""The task that polls the provider of an agent."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from app.agents import agents

AGENTS = """
[agents.mts]
connector = "m2m"
[agents.mts.settings]
api_key = "key"
url = "http://127.0.0.1:9/m2m_api.asmx"
allow_networks = ["loopback"]

[agents.gateway]
connector = "gateway"
channels = ["mms"]
settings = { url = "http://127.0.0.1:9" }
"""


@pytest.fixture
def poll_agent(agents_file: Path, queues: Any) -> Any:
    agents_file.write_text(AGENTS)
    agents.cache_clear()
    from tasks.poll import poll_agent

    return poll_agent


def test_task_polls_the_provider_of_its_agent(
    poll_agent: Any, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    connection.execute(
        text("""
            WITH sent AS (
                INSERT INTO messages (
                    channel, agent, recipient, status, sent_at, provider_message_id
                ) VALUES ('sms', 'mts', '+79161234567', 'sent', now(), '2648') RETURNING id
            )
            INSERT INTO polls (message_id, agent, due_at) SELECT id, 'mts', now() FROM sent
        """)
    )
    poll_agent("mts")
    assert "agent mts: cannot poll its provider: connection_refused" in caplog.text
    assert connection.execute(text("SELECT polls FROM polls")).scalars().all() == [1]


def test_each_round_starts_a_task_for_each_polled_agent(poll_agent: Any, queues: Any) -> None:
    from tasks.poll import poll

    poll()
    assert queues.tasks("poll") == [("poll_agent", ["mts"])]


def test_each_task_of_beat_has_a_queue_that_every_worker_reads(queues: Any) -> None:
    import tasks

    configured = tasks.celery.conf
    names = {entry["task"] for entry in configured.beat_schedule.values()}
    assert names == {"scan", "maintenance", "poll", "mailboxes", "parse"}
    assert names <= tasks.celery.tasks.keys()
    assert names <= configured.task_routes.keys()
    routed = {route["queue"] for route in configured.task_routes.values()}
    assert routed == {queue.name for queue in configured.task_queues}
