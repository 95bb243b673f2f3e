"""Rescue messages whose lease has expired."""

import pytest

from app import db
from app.agents import Agents
from app.outbox import rescue as rescues
from app.outbox.rescue import rescue
from tests.app.outbox.driver import Outbox

# In the agents file of the tests, `api` has on_uncertain = "hold".
TABLE = [
    # status, agent, attempts, losses, next status
    ("queued", "gateway", 0, 0, "outbox"),
    ("queued", "gateway", 1, 0, "retry"),
    ("queued", "gateway", 3, 2, "retry"),
    ("queued", "api", 0, 0, "outbox"),
    ("queued", "removed", 0, 0, "outbox"),
    ("retry", "gateway", 1, 0, "retry"),
    ("retry", "api", 1, 0, "retry"),
    ("sending", "gateway", 1, 0, "retry"),
    ("sending", "gateway", 99, 1, "retry"),
    ("sending", "gateway", 1, 2, "failed"),
    ("sending", "api", 1, 0, "unknown"),
    ("sending", "api", 99, 2, "unknown"),
    ("sending", "removed", 99, 1, "retry"),
]


def test_a_message_with_an_expired_lease_moves_on_by_the_policy_of_its_agent(
    outbox: Outbox, loaded_agents: Agents
) -> None:
    before = {}
    for row in TABLE:
        status, agent, attempts, losses, _ = row
        number = outbox.one(agent=agent)
        outbox.at(number, status, attempts=attempts, lease="-1 second")
        outbox.execute("UPDATE messages SET losses = :n WHERE id = :id", n=losses, id=number)
        before[number] = (row, outbox.row(number))
    assert rescue(outbox.connection, loaded_agents) == len(TABLE)

    for number, ((status, _, attempts, losses, expected), old) in before.items():
        row = outbox.row(number)
        is_lost = status == "sending"
        assert (row.status, row.lease_until) == (expected, None), old
        assert (row.attempts, row.losses) == (attempts - is_lost, losses + is_lost)
        assert row.claim_token == old.claim_token + 1
        assert (row.finished_at is not None) == (expected in {"failed", "unknown"})
        recorded = [
            (attempt.outcome, attempt.claim_token, attempt.code, attempt.duration_ms)
            for attempt in outbox.attempts(number)
        ]
        if is_lost:
            assert (row.error_code, row.reason) == ("worker_lost", "worker lost while sending")
            assert recorded == [("uncertain", old.claim_token, "worker_lost", None)]
        else:
            assert (row.error_code, row.reason) == (None, "task lost before it started")
            assert recorded == []
    assert rescue(outbox.connection, loaded_agents) == 0


def test_a_message_under_a_valid_lease_is_left_alone(outbox: Outbox, loaded_agents: Agents) -> None:
    for status in ("queued", "sending", "retry"):
        number = outbox.at(outbox.one(), status, lease="1 minute")
        assert rescue(outbox.connection, loaded_agents) == 0
        assert outbox.status(number) == status


def test_a_rescue_is_bounded_and_takes_the_oldest_leases_first(
    outbox: Outbox, loaded_agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rescues, "RESCUE_BATCH", 2)
    numbers = [outbox.at(outbox.one(), "queued", lease=f"-{n} minutes") for n in (1, 3, 2)]
    assert rescue(outbox.connection, loaded_agents) == 2
    assert [outbox.status(number) for number in numbers] == ["queued", "outbox", "outbox"]
    assert rescue(outbox.connection, loaded_agents) == 1


def test_concurrent_rescues_take_each_message_once(outbox: Outbox, loaded_agents: Agents) -> None:
    numbers = [outbox.at(outbox.one(), "sending", attempts=1, lease="-1 minute") for _ in range(3)]
    with db.transaction() as connection:
        Outbox(connection).execute("SELECT FROM messages WHERE id = :id FOR UPDATE", id=numbers[1])
        assert rescue(outbox.connection, loaded_agents) == 2
    assert rescue(outbox.connection, loaded_agents) == 1
    assert [len(outbox.attempts(number)) for number in numbers] == [1, 1, 1]
