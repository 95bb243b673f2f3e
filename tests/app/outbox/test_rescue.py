"""Leases that ran out: what becomes of the messages whose holder is lost."""

import pytest

from app import db
from app.agents import Agents
from app.outbox import claim as claims
from app.outbox.rescue import rescue
from tests.app.outbox.driver import Outbox

GATEWAY_TRIES = 3  # of the agents file of the tests; its agent `api` holds what is uncertain


@pytest.mark.parametrize(
    ("status", "agent", "attempts", "becomes", "attempt"),
    [
        ("queued", "gateway", 0, "outbox", None),
        ("queued", "gateway", 1, "retry", None),
        ("queued", "gateway", GATEWAY_TRIES, "retry", None),
        ("queued", "api", 0, "outbox", None),
        ("queued", "gone", 0, "outbox", None),
        ("retry", "gateway", 1, "retry", None),
        ("retry", "api", 1, "retry", None),
        ("sending", "gateway", 1, "retry", "uncertain"),
        ("sending", "gateway", GATEWAY_TRIES - 1, "retry", "uncertain"),
        ("sending", "gateway", GATEWAY_TRIES, "failed", "uncertain"),
        ("sending", "api", 1, "unknown", "uncertain"),
        ("sending", "api", 99, "unknown", "uncertain"),
        ("sending", "gone", 99, "retry", "uncertain"),
    ],
)
def test_what_was_held_too_long_moves_on_by_the_policy_of_its_agent(
    outbox: Outbox,
    loaded_agents: Agents,
    status: str,
    agent: str,
    attempts: int,
    becomes: str,
    attempt: str | None,
) -> None:
    number = outbox.one(agent=agent)
    outbox.at(number, status, attempts=attempts, lease="-1 second")
    before = outbox.row(number)
    assert rescue(outbox.connection, loaded_agents) == 1

    row = outbox.row(number)
    assert (row.status, row.lease_until, row.attempts) == (becomes, None, attempts)
    assert row.claim_token == before.claim_token + 1, "who held it must not go on"
    assert (row.finished_at is not None) == (becomes in {"failed", "unknown"})
    assert row.error_code == ("worker_lost" if attempt else None)
    assert row.reason
    assert [found.outcome for found in outbox.attempts(number)] == [attempt] * bool(attempt)
    for found in outbox.attempts(number):
        assert (found.claim_token, found.code, found.duration_ms) == (
            before.claim_token,
            "worker_lost",
            None,
        )
    assert outbox.events(number)[-1][1] == becomes
    assert rescue(outbox.connection, loaded_agents) == 0


@pytest.mark.parametrize("status", ["queued", "sending", "retry"])
def test_a_lease_that_still_runs_is_left_alone(
    outbox: Outbox, loaded_agents: Agents, status: str
) -> None:
    number = outbox.at(outbox.one(), status, lease="1 minute")
    assert rescue(outbox.connection, loaded_agents) == 0
    assert outbox.status(number) == status


def test_a_sweep_is_bounded_and_takes_the_longest_lost_first(
    outbox: Outbox, loaded_agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "SWEEP_AT_ONCE", 2)
    numbers = [outbox.at(outbox.one(), "queued", lease=f"-{n} minutes") for n in (1, 3, 2)]
    assert rescue(outbox.connection, loaded_agents) == 2
    assert [outbox.status(number) for number in numbers] == ["queued", "outbox", "outbox"]
    assert rescue(outbox.connection, loaded_agents) == 1


def test_two_sweeps_at_once_each_take_what_the_other_does_not(
    outbox: Outbox, loaded_agents: Agents
) -> None:
    numbers = [outbox.at(outbox.one(), "sending", attempts=1, lease="-1 minute") for _ in range(3)]
    with db.transaction() as connection:
        Outbox(connection).execute("SELECT FROM messages WHERE id = :id FOR UPDATE", id=numbers[1])
        assert rescue(outbox.connection, loaded_agents) == 2
    assert rescue(outbox.connection, loaded_agents) == 1
    assert [len(outbox.attempts(number)) for number in numbers] == [1, 1, 1]
