"""The promises of the outbox hold whatever happens, in whatever order.

A state machine calls the outbox in any order and compares it, after each step, with what the
design promises. Time passes by moving the timestamps of the messages.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Connection

from app import db
from app.agents import Agents
from app.outbox import claim as claims
from app.outbox.cancel import cancel
from app.outbox.expire import expire
from app.outbox.outcome import MAX_LOSSES, Outcome
from app.outbox.pause import pause_agent, pause_scheduler, resume_agent, resume_scheduler
from app.outbox.replay import replay
from app.outbox.rescue import rescue
from app.outbox.route import route
from app.outbox.start import Started, reject
from app.outbox.states import (
    CANCELLABLE,
    LATE_ACCEPTANCE,
    OPEN,
    OUTBOUND_STATUSES,
    REPLAYABLE,
    TRANSITIONS,
)
from tests.app.outbox.driver import LEASE, SENT, Outbox

MAX_IN_FLIGHT = 4
MAX_MESSAGES = 10
CELERY_RETRY = Outcome(status="retry", result="uncertain", code="timeout", on_celery=True)
OUTCOMES = st.sampled_from(
    [
        SENT,
        Outcome(status="failed", result="rejected", code="550"),
        Outcome(status="unknown", result="uncertain", code="timeout"),
        Outcome(status="outbox", result="misconfigured", code="401"),
        Outcome(status="retry", result="unavailable", code="503"),
        Outcome(status="retry", result="unavailable", code="503", wait=timedelta(hours=1)),
        CELERY_RETRY,
        CELERY_RETRY,
    ]
)
AGENTS = st.sampled_from(["gateway", "api"])
PICK = st.integers(0, MAX_MESSAGES)
AGE = st.sampled_from([0, 0, 0, 0, 1, 2])
"""How many claims ago a task was published: it may arrive late, twice or never."""


WORK: dict[str, Any] = {
    "what": st.sampled_from(["start", "deliver", "deliver", "settle", "settle", "return"]),
    "scans": st.booleans(),
    "pick": PICK,
    "age": AGE,
    "outcome": OUTCOMES,
}


@dataclass(frozen=True)
class Task:
    """A task in the broker."""

    message: int
    token: int


@dataclass
class Sending:
    """A worker that is talking to a provider, and the outcome once it has one."""

    started: Started
    token: int
    answer: Outcome | None = None


class Machine(RuleBasedStateMachine):
    """Messages of two agents, their tasks and their workers."""

    connection: Connection
    agents: Agents

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox(self.connection)
        self.outbox.execute("TRUNCATE messages, conversations, agent_states CASCADE")
        self.outbox.execute("UPDATE scheduler_state SET running = true")
        self.messages: dict[int, str] = {}  # and their agents
        self.begun: set[Task] = set()
        self.sendings: list[Sending] = []
        self.statuses: dict[int, str | None] = {}
        self.last_event = 0
        self.paused: set[str] = set()
        self.running = True

    def _pick(self, pick: int) -> int:
        numbers = [*self.messages]
        return numbers[pick % len(numbers)]

    def _task(self, pick: int, age: int) -> Task:
        """Return a task of the current claim or an older one, mostly of an open message."""
        alive = [number for number, status in self.statuses.items() if status in OPEN]
        number = alive[pick % len(alive)] if alive and age == 0 else self._pick(pick)
        return Task(number, self.outbox.row(number).claim_token - age)

    def _store(self, agent: str) -> int:
        channel = "sms" if agent == "gateway" else "http"
        number = self.outbox.one(agent=agent, channel=channel)
        self.messages[number] = agent
        return number

    # Arrivals

    @initialize()
    def begin(self) -> None:
        for agent in ("gateway", "gateway", "api"):
            self._store(agent)
        self._scan()

    @precondition(lambda self: len(self.messages) < MAX_MESSAGES)
    @rule(how=st.sampled_from(["api", "gateway", "gateway", "inserted", "unroutable"]))
    def arrive(self, how: str) -> None:
        if how in {"api", "gateway"}:
            self._store(how)
            return
        number = self.outbox.insert(recipient="nobody" if how == "unroutable" else "+4915112345678")
        self.messages[number] = "gateway"

    # Scan, broker, workers

    @rule(**WORK)
    def work(self, what: str, scans: bool, pick: int, age: int, outcome: Outcome) -> None:
        """An outcome may arrive late and be recorded twice."""
        if scans:
            self._scan()
        if what == "return":
            self._return(self._task(pick, age))
        elif what == "settle" and self.sendings:
            self._settle(self.sendings[-1 - pick % min(3, len(self.sendings))], outcome)
        elif (sending := self._start(self._task(pick, age))) and what == "deliver":
            self._settle(sending, outcome)

    # Repeated, since hypothesis takes each rule equally often.
    @rule(**WORK)
    def work_on(self, **values: Any) -> None:
        self.work(**values)

    def _scan(self) -> None:
        with db.transaction() as connection:
            assert claims.try_lock(connection)
            state = claims.begin_scan(connection)
            assert (state.running, state.paused_agents) == (self.running, self.paused)
            if not state.running:
                return
            if state.has_unrouted:
                route(connection, self.agents)
            capacities = {
                agent: capacity
                for agent in ("gateway", "api")
                if agent not in state.paused_agents
                and (capacity := MAX_IN_FLIGHT - state.in_flight.get(agent, 0)) > 0
            }
            found = claims.claim(connection, capacities, LEASE)
        for claim in found:
            assert self.running
            assert claim.agent not in self.paused
            row = self.outbox.row(claim.message_id)
            assert (row.claim_token, row.agent) == (claim.token, claim.agent)
        in_flight = self._in_flight()
        assert all(in_flight.get(claim.agent, 0) <= MAX_IN_FLIGHT for claim in found)

    def _in_flight(self) -> dict[str, int]:
        rows = self.outbox.execute(
            "SELECT agent, count(*) AS number FROM messages WHERE lease_until IS NOT NULL"
            " GROUP BY agent"
        )
        return {row.agent: row.number for row in rows}

    def _start(self, task: Task) -> Sending | None:
        before = self.outbox.row(task.message)
        timestamps = self.outbox.execute(
            "SELECT due_at <= now() AS is_due, expires_at <= now() AS is_over"
            " FROM messages WHERE id = :id",
            id=task.message,
        ).one()
        started = self.outbox.start(task.message, task.token)
        if started is None:
            assert self.outbox.row(task.message) == before
            return None
        assert task not in self.begun, "a claim starts once"
        self.begun.add(task)
        assert before.claim_token == task.token
        assert before.status in {"queued", "retry"}
        assert before.lease_until is not None
        assert timestamps.is_due
        assert not timestamps.is_over
        assert self.running
        assert self.messages[task.message] not in self.paused
        assert started.attempt == before.attempts + 1
        self.sendings.append(Sending(started, task.token))
        return self.sendings[-1]

    def _settle(self, sending: Sending, outcome: Outcome) -> None:
        outcome = sending.answer = sending.answer or outcome
        number = sending.started.message.id
        before = self.outbox.row(number)
        attempts = len(self.outbox.attempts(number))
        settled = self.outbox.settle(sending.started, sending.token, outcome)
        after = self.outbox.row(number)

        ours = before.status == "sending" and before.claim_token == sending.token
        late = (
            outcome.status == "sent"
            and before.claim_token > sending.token
            and before.status in LATE_ACCEPTANCE
        )
        assert settled == (ours or late)
        assert len(self.outbox.attempts(number)) == attempts + settled
        if not settled:
            assert after == before
            return
        assert after.status == outcome.status

    def _return(self, task: Task) -> None:
        """A claim is released or rejected before it starts."""
        before = self.outbox.row(task.message)
        claim = claims.Claim(task.message, self.messages[task.message], task.token)
        match task.token % 3:
            case 0:
                claims.release(self.connection, [claim], "not published")
            case 1:
                claims.release(self.connection, [claim], "deferred", timedelta(minutes=1))
            case _:
                reject(self.connection, claim, "rate_limited", "over the limit")
        after = self.outbox.row(task.message)
        assert after.attempts == before.attempts
        if (before.claim_token, before.lease_until is None) != (task.token, False):
            assert after == before

    # Time

    @rule(pick=PICK, what=st.sampled_from(["lost", "lost", "due", "over", "expired"]))
    def pass_time(self, pick: int, what: str) -> None:
        column, where = {
            "lost": ("lease_until", "lease_until IS NOT NULL"),
            "due": ("due_at", "due_at > now()"),
            "over": ("expires_at", "true"),
            "expired": ("expires_at", "true"),
        }[what]
        self.outbox.execute(
            f"UPDATE messages SET {column} = now() - interval '1 second'"
            f" WHERE id = :id AND {where}",
            id=self._pick(pick),
        )
        if what == "lost":
            self._rescue()
        if what == "expired":
            self._expire()

    def _rescue(self) -> None:
        lost = self.outbox.execute("SELECT * FROM messages WHERE lease_until < now()").all()
        assert rescue(self.connection, self.agents) == len(lost)
        for before in lost:
            after = self.outbox.row(before.id)
            assert after.claim_token == before.claim_token + 1
            if before.status != "sending":
                assert after.status == ("retry" if before.attempts else "outbox")
            elif before.agent == "api":
                assert after.status == "unknown"
            else:
                assert after.status == ("failed" if before.losses + 1 >= MAX_LOSSES else "retry")

    def _expire(self) -> None:
        expire(self.connection)
        left = self.outbox.execute(
            "SELECT count(*) FROM messages WHERE expires_at <= now()"
            " AND status IN ('outbox', 'queued', 'retry')"
        )
        assert left.scalar_one() == 0

    # Operators

    @rule(pick=PICK, cancels=st.booleans())
    def cancel_or_replay(self, pick: int, cancels: bool) -> None:
        number = self._pick(pick)
        before = self.outbox.status(number)
        change, allowed = (cancel, CANCELLABLE) if cancels else (replay, REPLAYABLE)
        assert change(self.connection, [number]) == [number] * (before in allowed)

    @rule(what=st.sampled_from(["gateway", "gateway", "api", "everything"]))
    def pause_or_resume(self, what: str) -> None:
        with db.transaction() as connection:
            if self.paused:
                resume_agent(connection, self.paused.pop(), by="tests")
            elif not self.running:
                resume_scheduler(connection, by="tests")
                self.running = True
            elif what == "everything":
                pause_scheduler(connection, by="tests")
                self.running = False
            else:
                pause_agent(connection, what, reason=None, by="tests")
                self.paused.add(what)

    # Promises

    @invariant()
    def no_message_is_lost(self) -> None:
        rows = self.outbox.execute("SELECT * FROM messages").all()
        assert {row.id for row in rows} == set(self.messages)
        for row in rows:
            assert row.status in OUTBOUND_STATUSES
            assert (row.finished_at is not None) == (row.status not in OPEN), row
            if row.status in {"queued", "sending"}:
                assert row.lease_until is not None
            elif row.status != "retry":
                assert row.lease_until is None
            if row.status in {"outbox", "retry"} and row.lease_until is None:
                assert row.due_at is not None
            if row.status == "queued":
                assert self.running
                assert row.agent not in self.paused
            assert row.attempts >= 0

    @invariant()
    def every_event_is_an_allowed_transition(self) -> None:
        rows = self.outbox.execute(
            "SELECT id, message_id, from_status, to_status FROM message_events"
            " WHERE id > :last ORDER BY id",
            last=self.last_event,
        )
        for row in rows:
            assert row.from_status == self.statuses.get(row.message_id)
            allowed = TRANSITIONS[row.from_status] if row.from_status else {"outbox"}
            assert row.to_status in allowed, (row.from_status, row.to_status)
            self.statuses[row.message_id] = row.to_status
            self.last_event = row.id
        now = self.outbox.execute("SELECT id, status FROM messages")
        assert self.statuses == {row.id: row.status for row in now}

    def _check_attempts(self) -> None:
        rows = self.outbox.execute(
            "SELECT message_id, claim_token, code = 'worker_lost' AS is_lost,"
            " count(*) AS number"
            " FROM attempts GROUP BY message_id, claim_token, is_lost"
        )
        for row in rows:
            assert Task(row.message_id, row.claim_token) in self.begun
            assert row.number == 1

    def teardown(self) -> None:
        """With working providers, everything ends unattended."""
        self._check_attempts()
        self.outbox.execute("UPDATE messages SET expires_at = NULL, due_at = now()")
        self.outbox.execute(
            "UPDATE messages SET lease_until = now() - interval '1 second'"
            " WHERE lease_until IS NOT NULL"
        )
        self.paused.clear()
        self.running = True
        self.outbox.execute("DELETE FROM agent_states")
        self.outbox.execute("UPDATE scheduler_state SET running = true")
        rescue(self.connection, self.agents)
        for _ in range(2 + len(self.messages)):
            for task in self._scan_all():
                started = self.outbox.start(task.message, task.token)
                assert started is not None
                assert self.outbox.settle(started, task.token)
        statuses = self.outbox.execute("SELECT DISTINCT status FROM messages").scalars()
        assert not {*statuses} & OPEN

    def _scan_all(self) -> Iterator[Task]:
        route(self.connection, self.agents)
        for claim in self.outbox.claim(gateway=MAX_IN_FLIGHT, api=MAX_IN_FLIGHT):
            yield Task(claim.message_id, claim.token)


@pytest.mark.timeout(420)  # hypothesis shrinks a failure for up to 300 s
def test_the_outbox_keeps_its_promises_in_any_order_of_events(
    connection: Connection, loaded_agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Machine, "connection", connection, raising=False)
    monkeypatch.setattr(Machine, "agents", loaded_agents, raising=False)
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=50,
            stateful_step_count=40,
            deadline=None,
            database=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
