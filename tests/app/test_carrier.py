"""One message carried: what each answer of a provider makes of it, and what happens where the
database, the rate limits or the configuration fail on the way."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import fakeredis
import pytest
import redis
from outbox_driver import Outbox
from servers import postgres
from sqlalchemy import Connection
from sqlalchemy.exc import InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app import db, delivery, migrate
from app.agents import Agents, agents
from app.delivery import CELERY_RETRY_LIMIT, LIMITER_OUTAGE_WAIT, Carrier, CeleryRetry
from app.limits import RateLimiter
from app.outbox import control
from connectors import registry
from connectors.base import (
    Accepted,
    Connector,
    ConnectorSettings,
    Misconfigured,
    OutboundMessage,
    Rejected,
    Reply,
    SendError,
    Unavailable,
    Uncertain,
)

QUEUE_LEASE = timedelta(seconds=45)
TRIES = 3
SECOND = timedelta(seconds=1)

FILE = """
[agents.gateway]
connector = "scripted"
retry = { attempts = 3, base_seconds = 4, factor = 5, jitter = 0 }

[agents.holding]
connector = "scripted"
on_uncertain = "hold"

[agents.limited]
connector = "scripted"
rate_limits = ["2/hour"]
profiles = { default = {}, eu = { rate_limits = ["1/day"] } }

[agents.strict]
connector = "scripted"
rate_limits = ["1/hour"]
over_limit = "reject"
"""


class Scripted(Connector[ConnectorSettings]):
    """Does what the test says, and keeps what it was given."""

    Settings = ConnectorSettings
    channels = frozenset({"sms"})
    answers: ClassVar[list[Any]] = []
    given: ClassVar[list[OutboundMessage]] = []

    @property
    def deadline(self) -> timedelta:
        return timedelta(seconds=20)

    def send(self, message: OutboundMessage) -> Accepted:
        self.given.append(message)
        answer = self.answers.pop(0) if self.answers else Accepted()
        if callable(answer):
            answer = answer()
        if isinstance(answer, BaseException):
            raise answer
        assert isinstance(answer, Accepted)
        return answer


@pytest.fixture
def scripted(
    monkeypatch: pytest.MonkeyPatch, agents_file: Path, environment: pytest.MonkeyPatch
) -> type[Scripted]:
    agents_file.write_text(FILE)
    monkeypatch.setattr(registry, "load", {"scripted": Scripted}.__getitem__)
    Scripted.answers, Scripted.given = [], []
    return Scripted


@pytest.fixture
def outbox(scripted: type[Scripted], connection: Connection) -> Outbox:
    return Outbox(connection)


@pytest.fixture
def limiter(redis_url: str) -> Iterator[RateLimiter]:
    with redis.Redis.from_url(redis_url) as client:
        yield RateLimiter(client)


@pytest.fixture
def carrier(outbox: Outbox, limiter: RateLimiter, loaded_agents: Agents) -> Carrier:
    return Carrier(loaded_agents, limiter, QUEUE_LEASE)


def carry(outbox: Outbox, carrier: Carrier, number: int, agent: str = "gateway") -> Any:
    """Claim the message and deliver it."""
    [claim] = [one for one in outbox.claim(**{agent: 100}) if one.message_id == number]
    return carrier.deliver(agent, number, claim.number)


# What comes of an answer


@pytest.mark.parametrize(
    ("agent", "answer", "status", "result", "attempts", "retry_seconds", "code"),
    [
        ("gateway", Accepted(code="202"), "sent", "accepted", 1, None, None),
        ("gateway", Rejected("550", "no"), "failed", "rejected", 1, None, "550"),
        ("gateway", Unavailable("503"), "retry", "unavailable", 1, 4, "503"),
        ("gateway", Uncertain("timeout"), "retry", "uncertain", 1, 4, "timeout"),
        ("gateway", ZeroDivisionError("defect"), "retry", "uncertain", 1, 4, "defect"),
        ("gateway", Misconfigured("401"), "outbox", "misconfigured", 0, None, "401"),
        ("holding", Uncertain("timeout"), "unknown", "uncertain", 1, None, "timeout"),
        ("holding", ZeroDivisionError("defect"), "unknown", "uncertain", 1, None, "defect"),
        ("holding", Unavailable("503"), "retry", "unavailable", 1, 2, "503"),
        ("holding", Rejected("550"), "failed", "rejected", 1, None, "550"),
    ],
    ids=lambda value: repr(value) if isinstance(value, Exception | Accepted) else str(value),
)
def test_each_answer_of_a_provider_has_its_outcome(
    outbox: Outbox,
    carrier: Carrier,
    scripted: type[Scripted],
    agent: str,
    answer: Any,
    status: str,
    result: str,
    attempts: int,
    retry_seconds: int | None,
    code: str | None,
) -> None:
    scripted.answers = [answer]
    number = outbox.one(agent=agent)
    done = carry(outbox, carrier, number, agent)

    row = outbox.row(number)
    assert (row.status, row.attempts, row.error_code) == (status, attempts, code)
    assert done.result == result
    if retry_seconds is None:
        assert done.retry is None
    else:
        assert done.retry.claim == row.claim
        low, high = (0.8, 1.2) if agent == "holding" else (1, 1)
        assert low * retry_seconds <= done.retry.wait.total_seconds() <= high * retry_seconds
        assert row.lease_until - row.due_at == QUEUE_LEASE
    [attempt] = outbox.attempts(number)
    assert attempt.outcome == result
    assert len(scripted.given) == 1


def test_what_the_provider_says_is_kept(
    outbox: Outbox, carrier: Carrier, scripted: type[Scripted]
) -> None:
    reply = Reply("thanks")
    refused = {"c@example.com": "550 no"}
    scripted.answers = [Accepted("p-7", "250", "queued", reply=reply, refused=refused)]
    number = outbox.one()
    carry(outbox, carrier, number)
    row = outbox.row(number)
    assert (row.provider_message_id, row.refused) == ("p-7", refused)
    assert row.reason == "accepted, but not for c@example.com"
    [attempt] = outbox.attempts(number)
    assert (attempt.code, attempt.detail) == ("250", "queued")
    replies = outbox.execute("SELECT body FROM messages WHERE parent_id = :id", id=number)
    assert replies.scalar_one() == "thanks"


def test_the_provider_is_called_while_no_connection_is_held(
    outbox: Outbox, carrier: Carrier, scripted: type[Scripted]
) -> None:
    held = db.engine().pool.checkedout()  # type: ignore[attr-defined]
    seen = []

    def send() -> Accepted:
        seen.append((db.engine().pool.checkedout(), outbox.status(number)))  # type: ignore[attr-defined]
        return Accepted()

    scripted.answers = [send]
    number = outbox.one()
    carry(outbox, carrier, number)
    assert seen == [(held, "sending")]


def test_the_tries_of_a_message_are_bounded(
    outbox: Outbox, carrier: Carrier, scripted: type[Scripted]
) -> None:
    refused = {"c@example.com": "no"}
    scripted.answers = [Unavailable("503", "busy", refused=refused)] * 9
    number = outbox.one()
    statuses, waits = [], []
    for _ in range(TRIES):
        done = carry(outbox, carrier, number)
        statuses.append(outbox.status(number))
        waits.append(done.retry and done.retry.wait)
        outbox.execute("UPDATE messages SET lease_until = NULL, due_at = now()")
    assert statuses == ["retry", "retry", "failed"]
    assert waits == [timedelta(seconds=4), None, None], "the second wait, 20 s, is for the scan"
    row = outbox.row(number)
    assert row.reason == f"gave up after {TRIES} tries: 503: busy"
    assert row.refused == refused
    assert len(outbox.attempts(number)) == len(scripted.given) == TRIES


@pytest.mark.parametrize(
    ("asked", "waits", "is_held"),
    [
        (timedelta(seconds=1), timedelta(seconds=4), True),
        (timedelta(0), timedelta(seconds=4), True),
        (timedelta(seconds=-5), timedelta(seconds=4), True),
        (CELERY_RETRY_LIMIT, CELERY_RETRY_LIMIT, True),
        (CELERY_RETRY_LIMIT + SECOND, CELERY_RETRY_LIMIT + SECOND, False),
        (timedelta(hours=2), timedelta(hours=2), False),
        (timedelta.max, timedelta(days=1), False),
    ],
)
def test_the_provider_may_ask_for_a_longer_wait_but_not_for_a_shorter(
    outbox: Outbox,
    carrier: Carrier,
    scripted: type[Scripted],
    asked: timedelta,
    waits: timedelta,
    is_held: bool,
) -> None:
    scripted.answers = [Unavailable("429", retry_after=asked)]
    number = outbox.one()
    done = carry(outbox, carrier, number)
    row = outbox.row(number)
    assert outbox.seconds_until(number, "due_at") == pytest.approx(waits.total_seconds(), abs=30)
    assert (row.lease_until is not None) == is_held
    assert done.retry == (CeleryRetry(waits, row.claim) if is_held else None)


def test_the_retry_carries_on_with_those_who_have_not_got_it(
    outbox: Outbox, carrier: Carrier, scripted: type[Scripted]
) -> None:
    scripted.answers = [
        Unavailable("451", remaining=("b", "c"), refused={"d": "no"}),
        Unavailable("connect"),
        Accepted(refused={"c": "no"}),
    ]
    number = outbox.one()
    for _ in range(TRIES):
        carry(outbox, carrier, number)
        outbox.execute(
            "UPDATE messages SET lease_until = NULL, due_at = now() WHERE status = 'retry'"
        )
    assert [message.remaining for message in scripted.given] == [None, ("b", "c"), ("b", "c")]
    row = outbox.row(number)
    assert (row.status, row.refused) == ("sent", {"c": "no", "d": "no"})


# Misconfigured


def test_who_is_misconfigured_is_paused_and_keeps_its_messages(
    outbox: Outbox, carrier: Carrier, scripted: type[Scripted]
) -> None:
    scripted.answers = [Misconfigured("401", "wrong key")]
    first, second = outbox.accept(2)
    claimed = {one.message_id: one.number for one in outbox.claim()}
    carrier.deliver("gateway", first, claimed[first])
    carrier.deliver("gateway", second, claimed[second])
    assert len(scripted.given) == 1, "the second was called back by the pause"
    for number in (first, second):
        row = outbox.row(number)
        assert (row.status, row.attempts, row.lease_until) == ("outbox", 0, None)
    state = outbox.execute("SELECT * FROM agent_states").one()
    assert (state.agent, state.paused, state.changed_by) == ("gateway", True, "postroom")
    assert state.reason == "401: wrong key"

    control.resume_agent(outbox.connection, "gateway", by="ann")
    carry(outbox, carrier, first)
    assert outbox.status(first) == "sent"


def test_a_profile_that_is_configured_no_more_fails_its_message_alone(
    outbox: Outbox, carrier: Carrier, scripted: type[Scripted]
) -> None:
    for agent in ("gateway", "limited"):
        number = outbox.one(agent=agent, profile="gone")
        carry(outbox, carrier, number, agent)
        row = outbox.row(number)
        assert (row.status, row.error_code) == ("failed", "profile")
        assert row.reason == f"profile: agent {agent} has no profile gone"
    assert scripted.given == []
    assert outbox.execute("SELECT count(*) FROM agent_states").scalar_one() == 0


# Whose task it is


@pytest.mark.parametrize("agent", ["gateway", "limited"])
def test_a_doubled_or_late_task_does_nothing(
    outbox: Outbox, carrier: Carrier, scripted: type[Scripted], agent: str
) -> None:
    number = outbox.one(agent=agent)
    [claim] = outbox.claim(**{agent: 1})
    results = [carrier.deliver(agent, number, claim.number + off).result for off in (1, -1, 0, 0)]
    assert results == ["stale", "stale", "accepted", "stale"]
    assert len(scripted.given) == 1


def test_of_two_workers_with_the_same_task_one_sends(
    outbox: Outbox, carrier: Carrier, scripted: type[Scripted]
) -> None:
    sending, go_on = threading.Event(), threading.Event()

    def send() -> Accepted:
        sending.set()
        assert go_on.wait(60)
        return Accepted()

    scripted.answers = [send]
    number = outbox.one()
    [claim] = outbox.claim()
    worker = threading.Thread(target=carrier.deliver, args=("gateway", number, claim.number))
    worker.start()
    assert sending.wait(60)
    assert carrier.deliver("gateway", number, claim.number).result == "stale"
    assert control.cancel(outbox.connection, [number]) == []
    go_on.set()
    worker.join()
    assert outbox.status(number) == "sent"
    assert len(scripted.given) == 1


def test_an_answer_after_the_lease_makes_no_retry(
    outbox: Outbox, carrier: Carrier, scripted: type[Scripted]
) -> None:
    def send() -> SendError:
        outbox.at(number, "retry")
        return Unavailable("503")

    scripted.answers = [send]
    number = outbox.one()
    assert carry(outbox, carrier, number).retry is None
    assert outbox.attempts(number) == []


# Rate limits


def test_over_its_limit_a_message_waits_without_a_try(
    outbox: Outbox, carrier: Carrier, scripted: type[Scripted]
) -> None:
    results = [
        carry(outbox, carrier, number := outbox.one(agent="limited"), "limited").result
        for _ in range(3)
    ]
    assert results == ["accepted", "accepted", "limited"]
    row = outbox.row(number)
    assert (row.status, row.attempts, row.lease_until) == ("outbox", 0, None)
    assert row.reason == "waits for the rate limit of limited"
    assert 3000 < (outbox.seconds_until(number, "due_at") or 0) <= 3600
    assert outbox.attempts(number) == []
    assert len(scripted.given) == 2


def test_the_limit_of_a_profile_holds_that_profile_back(
    outbox: Outbox, carrier: Carrier, scripted: type[Scripted]
) -> None:
    results = {}
    for profile in ("eu", "eu", "default"):
        number = outbox.one(agent="limited", profile=profile)
        results[number] = carry(outbox, carrier, number, "limited").result
    assert [*results.values()] == ["accepted", "limited", "accepted"]
    [_, late, _] = results
    assert (outbox.seconds_until(late, "due_at") or 0) > 80_000


def test_over_its_limit_a_message_fails_where_its_agent_says_reject(
    outbox: Outbox, carrier: Carrier, scripted: type[Scripted]
) -> None:
    assert carry(outbox, carrier, outbox.one(agent="strict"), "strict").result == "accepted"
    number = outbox.one(agent="strict")
    assert carry(outbox, carrier, number, "strict").result == "limited"
    row = outbox.row(number)
    assert (row.status, row.attempts, row.error_code) == ("failed", 0, "rate_limited")
    assert outbox.attempts(number) == []


@pytest.mark.parametrize("agent", ["limited", "strict"])
def test_while_redis_is_out_of_reach_no_limit_can_be_broken(
    outbox: Outbox, loaded_agents: Agents, scripted: type[Scripted], agent: str
) -> None:
    server = fakeredis.FakeServer()
    carrier = Carrier(loaded_agents, RateLimiter(fakeredis.FakeRedis(server=server)), QUEUE_LEASE)
    number = outbox.one(agent=agent)
    server.connected = False
    assert carry(outbox, carrier, number, agent).result == "limited"
    row = outbox.row(number)
    assert (row.status, row.attempts, row.lease_until) == ("outbox", 0, None)
    wait = LIMITER_OUTAGE_WAIT.total_seconds()
    assert outbox.seconds_until(number, "due_at") == pytest.approx(wait, abs=wait)
    assert scripted.given == []

    server.connected = True
    outbox.move(number, due_at="-1 second")
    assert carry(outbox, carrier, number, agent).result == "accepted"


def test_who_has_no_limit_needs_no_redis(
    outbox: Outbox, loaded_agents: Agents, scripted: type[Scripted]
) -> None:
    server = fakeredis.FakeServer()
    server.connected = False
    carrier = Carrier(loaded_agents, RateLimiter(fakeredis.FakeRedis(server=server)), QUEUE_LEASE)
    assert carry(outbox, carrier, outbox.one()).result == "accepted"


# PostgreSQL out of reach


@pytest.fixture
def own_postgres(
    scripted: type[Scripted], environment: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Any]:
    """A PostgreSQL of this test alone, migrated, which `app.db` uses."""
    with postgres(tmp_path / "own") as server:
        environment.setenv("DATABASE_URL", server.url)
        migrate.upgrade()
        yield server
        db.engine().dispose()


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (Accepted("p-1"), "sent"),
        (Unavailable("503"), "retry"),
        (Misconfigured("401"), "outbox"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_an_answer_is_recorded_as_soon_as_postgresql_is_back(
    own_postgres: Any,
    limiter: RateLimiter,
    scripted: type[Scripted],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    answer: Any,
    status: str,
) -> None:
    def send() -> Any:
        own_postgres.stop()
        return answer

    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        """Instead of waiting, PostgreSQL comes back after the second try."""
        pauses.append(seconds)
        if len(pauses) == 2:
            own_postgres.start()

    monkeypatch.setattr(delivery, "time", SimpleNamespace(monotonic=time.monotonic, sleep=sleep))
    scripted.answers = [send]
    with db.autocommit() as connection:
        number = Outbox(connection).one()
        [claim] = Outbox(connection).claim()
    carrier = Carrier(agents(), limiter, QUEUE_LEASE)
    with caplog.at_level(logging.WARNING):
        done = carrier.deliver("gateway", number, claim.number)
    assert len(pauses) >= 2
    assert "PostgreSQL is out of reach" in caplog.text
    with db.autocommit() as connection:
        outbox = Outbox(connection)
        assert outbox.status(number) == status
        assert len(outbox.attempts(number)) == len(scripted.given) == 1
        assert (done.retry is not None) == (status == "retry")


@pytest.mark.parametrize(
    "error",
    [InterfaceError("", None, Exception("connection already closed")), PoolTimeoutError("no room")],
    ids=lambda error: type(error).__name__,
)
def test_a_lost_connection_and_a_full_pool_are_outages_too(
    outbox: Outbox,
    carrier: Carrier,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    monkeypatch.setattr(delivery, "RECORD_AGAIN_SECONDS", 0)
    real: Callable[..., Any] = delivery.delivery.settle
    calls = []

    def settle(*given: Any) -> bool:
        calls.append(given)
        if len(calls) == 1:
            raise error
        return bool(real(*given))

    monkeypatch.setattr(delivery.delivery, "settle", settle)
    number = outbox.one()
    carry(outbox, carrier, number)
    assert outbox.status(number) == "sent"
    assert len(calls) == 2


def test_an_answer_that_cannot_be_recorded_within_the_lease_is_given_up(
    own_postgres: Any,
    limiter: RateLimiter,
    scripted: type[Scripted],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0.0]

    def pass_time(seconds: float) -> None:
        clock[0] += 20

    monkeypatch.setattr(
        delivery, "time", SimpleNamespace(monotonic=lambda: clock[0], sleep=pass_time)
    )

    def send() -> Accepted:
        own_postgres.stop()
        return Accepted()

    scripted.answers = [send]
    with db.autocommit() as connection:
        number = Outbox(connection).one()
        [claim] = Outbox(connection).claim()
    lease = agents().send_lease("gateway").total_seconds()
    with pytest.raises(Exception, match=r"refused|closed"):
        Carrier(agents(), limiter, QUEUE_LEASE).deliver("gateway", number, claim.number)
    assert lease <= clock[0] < lease + 40
