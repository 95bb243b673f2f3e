"""PostgreSQL goes down or becomes read-only while a message is being sent."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.exc import DatabaseError, InterfaceError, InternalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app import db, migrate
from app.agents import agents
from app.limits import RateLimiter
from app.outbox import deliver as delivery
from app.outbox.deliver import Deliverer
from connectors.base import (
    Accepted,
    Misconfigured,
    Unavailable,
)
from tests.app.outbox.deliver.scripted import QUEUE_LEASE, Scripted, deliver
from tests.app.outbox.driver import Outbox
from tests.servers import postgres, read_only


@pytest.fixture
def own_postgres(
    scripted: type[Scripted], environment: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Any]:
    """A migrated PostgreSQL server for this test alone."""
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
def test_the_outcome_is_recorded_once_postgresql_is_back(
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
        """Start PostgreSQL again instead of the second wait."""
        pauses.append(seconds)
        if len(pauses) == 2:
            own_postgres.start()

    monkeypatch.setattr(delivery, "time", SimpleNamespace(monotonic=time.monotonic, sleep=sleep))
    scripted.answers = [send]
    with db.autocommit() as connection:
        number = Outbox(connection).one()
        [claim] = Outbox(connection).claim()
    deliverer = Deliverer(agents(), limiter, QUEUE_LEASE)
    with caplog.at_level(logging.WARNING):
        done = deliverer.deliver(claim)
    assert len(pauses) >= 2
    assert "PostgreSQL is out of reach" in caplog.text
    with db.autocommit() as connection:
        outbox = Outbox(connection)
        assert outbox.status(number) == status
        assert len(outbox.attempts(number)) == len(scripted.given) == 1
        assert (done.retry is not None) == (status == "retry")


def test_the_outcome_is_recorded_once_postgresql_accepts_writes_again(
    database: str,
    outbox: Outbox,
    deliverer: Deliverer,
    scripted: type[Scripted],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outage = ExitStack()

    def send() -> Accepted:
        outage.enter_context(read_only(database))
        return Accepted("p-1")

    def sleep(_: float) -> None:
        outage.close()

    monkeypatch.setattr(delivery, "time", SimpleNamespace(monotonic=time.monotonic, sleep=sleep))
    scripted.answers = [send]
    number = outbox.one()
    with outage, caplog.at_level(logging.WARNING):
        deliver(outbox, deliverer, number)
    assert "cannot record the outcome yet: PostgreSQL is read-only" in caplog.text
    assert outbox.status(number) == "sent"
    assert len(outbox.attempts(number)) == len(scripted.given) == 1


@pytest.mark.parametrize(
    "error",
    [
        InterfaceError("", None, Exception("connection already closed")),
        PoolTimeoutError("no room"),
        InternalError("", None, Exception("cache lookup failed")),
        DatabaseError("", None, Exception("could not serialize access")),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_postgresql_reports_the_outcome_is_recorded_again(
    outbox: Outbox,
    deliverer: Deliverer,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    monkeypatch.setattr(delivery, "SETTLE_RETRY_SECONDS", 0)
    real: Callable[..., Any] = delivery.settle
    calls = []

    def settle(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == 1:
            raise error
        return real(*given)

    monkeypatch.setattr(delivery, "settle", settle)
    number = outbox.one()
    deliver(outbox, deliverer, number)
    assert outbox.status(number) == "sent"
    assert len(calls) == 2


def test_the_worker_gives_up_recording_after_the_lease(
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
        Outbox(connection).one()
        [claim] = Outbox(connection).claim()
    lease = agents().send_lease("gateway").total_seconds()
    with pytest.raises(Exception, match=r"refused|closed"):
        Deliverer(agents(), limiter, QUEUE_LEASE).deliver(claim)
    assert lease <= clock[0] < lease + 40
