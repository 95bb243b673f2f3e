"""Rescue messages whose lease has expired."""

import pytest

from app import db
from app.agents import Agents
from app.outbox import rescue as rescues
from app.outbox.rescue import rescue
from tests.app.outbox.driver import Outbox

MAX_ATTEMPTS = 3  # of `gateway` in the agents file of the tests; `api` has on_uncertain = "hold"

TABLE = [
    ("queued", "gateway", 0, "outbox"),
    ("queued", "gateway", 1, "retry"),
    ("queued", "gateway", MAX_ATTEMPTS, "retry"),
    ("queued", "api", 0, "outbox"),
    ("queued", "removed", 0, "outbox"),
    ("retry", "gateway", 1, "retry"),
    ("retry", "api", 1, "retry"),
    ("sending", "gateway", 1, "retry"),
    ("sending", "gateway", MAX_ATTEMPTS - 1, "retry"),
    ("sending", "gateway", MAX_ATTEMPTS, "failed"),
    ("sending", "api", 1, "unknown"),
    ("sending", "api", 99, "unknown"),
    ("sending", "removed", 99, "retry"),
]


def test_a_message_with_an_expired_lease_moves_on_by_the_policy_of_its_agent(
    outbox: Outbox, loaded_agents: Agents
) -> None:
    before = {}
    for row in TABLE:
        status, agent, attempts, _ = row
        number = outbox.one(agent=agent)
        outbox.at(number, status, attempts=attempts, lease="-1 second")
        before[number] = (row, outbox.row(number))
    assert rescue(outbox.connection, loaded_agents) == len(TABLE)

    for number, ((status, _, attempts, expected), old) in before.items():
        row = outbox.row(number)
        assert (row.status, row.lease_until, row.attempts) == (expected, None, attempts), old
        assert row.claim_token == old.claim_token + 1
        assert (row.finished_at is not None) == (expected in {"failed", "unknown"})
        recorded = [
            (attempt.outcome, attempt.claim_token, attempt.code, attempt.duration_ms)
            for attempt in outbox.attempts(number)
        ]
        if status == "sending":
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
