"""A message over a rate limit waits without an attempt."""

from collections.abc import Callable
from typing import Any

import fakeredis
import pytest

from app.agents import Agents
from app.limits import Capacity, RateLimiter
from app.outbox.deliver import LIMITER_OUTAGE_WAIT, Deliverer
from tests.app.outbox.deliver.scripted import QUEUE_LEASE, Scripted, deliver
from tests.app.outbox.driver import Outbox


def test_a_message_over_the_limit_waits_without_an_attempt(
    outbox: Outbox, deliverer: Deliverer, scripted: type[Scripted]
) -> None:
    results = [
        deliver(outbox, deliverer, number := outbox.one(agent="limited"), "limited").result
        for _ in range(3)
    ]
    assert results == ["accepted", "accepted", "limited"]
    row = outbox.row(number)
    assert (row.status, row.attempts, row.lease_until) == ("outbox", 0, None)
    assert row.reason == "deferred: limited is at its rate limit"
    assert 3000 < (outbox.seconds_until(number, "due_at") or 0) <= 3600
    assert outbox.attempts(number) == []
    assert len(scripted.given) == 2


def test_the_limit_of_a_profile_applies_to_that_profile_only(
    outbox: Outbox, deliverer: Deliverer, scripted: type[Scripted]
) -> None:
    results = {}
    for profile in ("eu", "eu", "default"):
        number = outbox.one(agent="limited", profile=profile)
        results[number] = deliver(outbox, deliverer, number, "limited").result
    assert [*results.values()] == ["accepted", "limited", "accepted"]
    [_, late, _] = results
    assert (outbox.seconds_until(late, "due_at") or 0) > 80_000


def test_a_message_over_the_limit_fails_with_over_limit_reject(
    outbox: Outbox, deliverer: Deliverer, scripted: type[Scripted]
) -> None:
    assert deliver(outbox, deliverer, outbox.one(agent="strict"), "strict").result == "accepted"
    number = outbox.one(agent="strict")
    assert deliver(outbox, deliverer, number, "strict").result == "limited"
    row = outbox.row(number)
    assert (row.status, row.attempts, row.error_code) == ("failed", 0, "rate_limited")
    assert outbox.attempts(number) == []


@pytest.mark.parametrize("agent", ["limited", "strict"])
def test_no_limit_is_exceeded_while_redis_is_down(
    outbox: Outbox, loaded_agents: Agents, scripted: type[Scripted], agent: str
) -> None:
    server = fakeredis.FakeServer()
    deliverer = Deliverer(
        loaded_agents, RateLimiter(fakeredis.FakeRedis(server=server)), QUEUE_LEASE
    )
    number = outbox.one(agent=agent)
    server.connected = False
    assert deliver(outbox, deliverer, number, agent).result == "limited"
    row = outbox.row(number)
    assert (row.status, row.attempts, row.lease_until) == ("outbox", 0, None)
    wait = LIMITER_OUTAGE_WAIT.total_seconds()
    assert outbox.seconds_until(number, "due_at") == pytest.approx(wait, abs=wait)
    assert scripted.given == []

    server.connected = True
    outbox.move(number, due_at="-1 second")
    assert deliver(outbox, deliverer, number, agent).result == "accepted"


def test_an_agent_without_limits_needs_no_redis(
    outbox: Outbox, loaded_agents: Agents, scripted: type[Scripted]
) -> None:
    server = fakeredis.FakeServer()
    server.connected = False
    deliverer = Deliverer(
        loaded_agents, RateLimiter(fakeredis.FakeRedis(server=server)), QUEUE_LEASE
    )
    assert deliver(outbox, deliverer, outbox.one()).result == "accepted"


def test_no_connection_is_held_while_the_rate_limit_is_checked(
    outbox: Outbox,
    deliverer: Deliverer,
    scripted: type[Scripted],
    connections_in_use: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held, seen = connections_in_use(), []
    take = RateLimiter.take

    def watched(*arguments: Any, **named: Any) -> Capacity:
        seen.append(connections_in_use())
        return take(*arguments, **named)

    monkeypatch.setattr(RateLimiter, "take", watched)
    deliver(outbox, deliverer, outbox.one(agent="limited"), "limited")
    assert seen == [held]
