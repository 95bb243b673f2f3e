"""A message whose worker was lost twice is sent in a process of its own."""

import sys
from pathlib import Path

import pytest

from app.agents import Agents
from app.limits import limiter
from app.outbox import isolation
from app.outbox.deliver import Deliverer
from sandbox.client import running_sandbox
from tests.app.outbox.driver import LEASE, Outbox

DIES = (sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")


def _suspect(outbox: Outbox, agent: str) -> int:
    number = outbox.one(agent=agent)
    outbox.execute("UPDATE messages SET losses = 2 WHERE id = :id", id=number)
    return number


def test_a_message_that_kills_its_process_is_given_up_and_harms_no_other(
    outbox: Outbox, loaded_agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation, "COMMAND", DIES)
    deliverer = Deliverer(loaded_agents, limiter(), LEASE)
    for agent, status in (("gateway", "failed"), ("api", "unknown")):
        number = _suspect(outbox, agent)
        [claim] = outbox.claim(**{agent: 1})
        assert deliverer.deliver(claim).result == "uncertain"
        row = outbox.row(number)
        assert (row.status, row.error_code) == (status, "worker_lost")
        assert row.reason == "gave up after 3 workers were lost while sending"
        [attempt] = outbox.attempts(number)
        assert (attempt.outcome, attempt.code) == ("uncertain", "worker_lost")


def test_an_innocent_message_is_sent_from_its_own_process(
    outbox: Outbox, agents_file: Path, redis_url: str
) -> None:
    with running_sandbox() as sandbox:
        agents_file.write_text(
            agents_file.read_text().replace("http://127.0.0.1:9/gateway", sandbox.gateway_url)
        )
        agents = Agents.load(agents_file)
        number = _suspect(outbox, "gateway")
        [claim] = outbox.claim()
        assert Deliverer(agents, limiter(), LEASE).deliver(claim).result == "accepted"
        row = outbox.row(number)
        assert row.status == "sent"
        assert row.provider_message_id is not None
        agents.close()
