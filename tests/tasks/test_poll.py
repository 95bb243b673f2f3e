"""The round of polling that beat asks for."""

import runpy
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from app.agents import agents
from app.inbound import polling

ROOT = Path(__file__).parents[2]
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
def poll(agents_file: Any, queues: Any) -> Any:
    agents_file.write_text(AGENTS)
    agents.cache_clear()
    from tasks.poll import poll

    return poll


def test_a_round_asks_the_provider_of_its_agent(
    poll: Any, connection: Connection, caplog: pytest.LogCaptureFixture
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
    poll("mts")
    assert "agent mts cannot ask its provider: connection_refused" in caplog.text
    assert connection.execute(text("SELECT polls FROM polls")).scalars().all() == [1]


def test_a_round_does_not_begin_while_the_last_one_still_asks(
    poll: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    began, may_end = threading.Event(), threading.Event()
    rounds: list[str] = []

    def asks(_: Any, agent: str) -> int:
        rounds.append(agent)
        began.set()
        assert agent != "mts" or may_end.wait(60)
        return 0

    monkeypatch.setattr(polling, "poll", asks)
    with ThreadPoolExecutor() as worker:
        hanging = worker.submit(poll, "mts")
        assert began.wait(60)
        poll("mts")
        poll("bank")
        may_end.set()
        hanging.result()
        poll("mts")
    assert rounds == ["mts", "bank", "mts"]


def test_beat_asks_for_a_round_of_each_agent_that_has_to_be_polled(poll: Any) -> None:
    configured = runpy.run_path(str(ROOT / "celeryconfig.py"))
    rounds = [entry for entry in configured["beat_schedule"].values() if entry["task"] == "poll"]
    assert [entry["args"] for entry in rounds] == [("mts",)]


@pytest.mark.parametrize("name", ["scan", "maintenance", "poll", "collect"])
def test_each_task_of_beat_has_a_queue_that_every_worker_reads(queues: Any, name: str) -> None:
    import tasks

    assert name in tasks.celery.tasks
    assert name in {queue.name for queue in tasks.celery.conf.task_queues}
    assert tasks.celery.conf.task_routes[name] == {"queue": name}
