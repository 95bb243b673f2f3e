"""Polling providers that send no webhooks: for which messages, how often and until when."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from sqlalchemy import Connection

from app import db
from app.agents import Agents, agents
from app.inbound import polling
from app.outbox import pause
from app.outbox.outcome import Outcome
from connectors.base import (
    Accepted,
    Connector,
    ConnectorSettings,
    Misconfigured,
    OutboundMessage,
    Receipt,
    SentMessage,
    Unavailable,
    registry,
)
from tests.app.outbox.driver import Outbox

MINUTE = timedelta(minutes=1)
FILE = """
[agents.mts]
connector = "polled"
profiles = { default = {}, shop = {} }

[agents.bank]
connector = "polled"

[agents.gateway]
connector = "gateway"
channels = ["mms"]
settings = { url = "http://127.0.0.1:9" }
"""


class Polled(Connector[ConnectorSettings]):
    """A connector whose receipts the test decides."""

    Settings = ConnectorSettings
    channels = frozenset({"sms"})
    can_poll = True
    calls: ClassVar[list[list[SentMessage]]]
    kind: ClassVar[str | None]
    error: ClassVar[Exception | None]
    during_call: ClassVar[Callable[[], None]]

    @property
    def send_timeout(self) -> timedelta:
        return timedelta(seconds=20)

    def send(self, message: OutboundMessage) -> Accepted:
        raise NotImplementedError

    def poll(self, messages: Any) -> list[Receipt]:
        self.calls.append([*messages])
        type(self).during_call()
        if self.error:
            raise self.error
        kind: Any = self.kind
        return [
            Receipt(
                key=f"{message.provider_message_id}:{kind}",
                kind=kind,
                provider_message_id=message.provider_message_id,
            )
            for message in messages
        ]


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch, agents_file: Path) -> type[Polled]:
    agents_file.write_text(FILE)
    known = {"polled": Polled, "gateway": registry.load("gateway")}
    monkeypatch.setattr(registry, "load", known.__getitem__)
    monkeypatch.setattr(polling, "BATCH", 10)
    Polled.calls, Polled.kind, Polled.error = [], "sent", None
    Polled.during_call = staticmethod(lambda: None)
    return Polled


@pytest.fixture
def outbox(provider: type[Polled], connection: Connection) -> Outbox:
    return Outbox(connection)


Send = Callable[..., list[int]]


@pytest.fixture
def send(outbox: Outbox) -> Send:
    """Return a function that makes sent messages for which polling is due."""

    def send(count: int = 1, agent: str = "mts", **values: Any) -> list[int]:
        numbers = outbox.store(count, agent=agent, **values)
        for claim in outbox.claim(**{agent: count}):
            started = outbox.start(claim.message_id, claim.token)
            assert started is not None
            accepted = {"provider_message_id": f"p-{claim.message_id}", "is_polled": True}
            sent = Outcome(status="sent", result="accepted", **accepted)
            assert outbox.settle(started, claim.token, sent)
        make_due(outbox)
        return numbers

    return send


def make_due(outbox: Outbox) -> None:
    outbox.execute("UPDATE polls SET due_at = now()")


def waits(outbox: Outbox) -> list[timedelta]:
    """Return how long until each message is polled for again."""
    rows = outbox.execute("SELECT due_at - now() AS wait FROM polls ORDER BY message_id")
    return [timedelta(seconds=round(row.wait.total_seconds())) for row in rows]


def polled(provider: type[Polled]) -> list[list[str]]:
    return [sorted(message.provider_message_id for message in call) for call in provider.calls]


def poll(agent: str = "mts") -> int:
    return polling.poll(agents(), agent)


def test_agents_whose_connector_can_poll_are_polled(
    provider: type[Polled], loaded_agents: Agents
) -> None:
    assert polling.polled_agents(loaded_agents) == ["mts", "bank"]


def test_final_status_is_applied_and_ends_polling(
    outbox: Outbox, send: Send, provider: type[Polled]
) -> None:
    [number] = send()
    provider.kind = "delivered"
    assert poll() == 1
    row = outbox.row(number)
    assert row.status == "delivered"
    [[message]] = provider.calls
    assert message == SentMessage(
        provider_message_id=f"p-{number}",
        uid=str(row.uid),
        channel="sms",
        recipient=row.recipient,
        sent_at=row.sent_at,
    )
    make_due(outbox)
    assert poll() == 0
    assert len(provider.calls) == 1


def test_intermediate_status_is_stored_once_and_polling_continues(
    outbox: Outbox, send: Send, provider: type[Polled]
) -> None:
    [number] = send()
    for kind in ("sent", "queued", "deferred", "unrecognised"):
        provider.kind = kind
        assert poll() == 1
        make_due(outbox)
        assert poll() == 0
        make_due(outbox)
    assert outbox.status(number) == "sent"
    assert len(provider.calls) == 8


def test_interval_between_polls_grows(outbox: Outbox, send: Send) -> None:
    send()
    seen = []
    for _ in range(7):
        poll()
        seen += waits(outbox)
        make_due(outbox)
    assert seen == [MINUTE * minutes for minutes in (1, 2, 5, 15, 60, 60, 60)]


def test_message_is_not_polled_for_before_it_is_due(
    outbox: Outbox, send: Send, provider: type[Polled]
) -> None:
    send()
    outbox.execute("UPDATE polls SET due_at = now() + interval '1 minute'")
    assert poll() == 0
    assert provider.calls == []


def test_polling_ends_after_72_hours_and_the_message_stays_sent(
    outbox: Outbox, send: Send, provider: type[Polled], caplog: pytest.LogCaptureFixture
) -> None:
    old, young = send(2)
    outbox.move(old, sent_at="-72 hours -1 second")
    outbox.move(young, sent_at="-71 hours -59 minutes")
    poll()
    assert polled(provider) == [[f"p-{young}"]]
    assert outbox.status(old) == "sent"
    assert outbox.execute("SELECT message_id FROM polls").scalars().all() == [young]
    assert "no final status of 1 messages" in caplog.text


def test_many_messages_are_polled_for_in_batches(send: Send, provider: type[Polled]) -> None:
    send(25)
    assert poll() == 25
    assert [len(call) for call in provider.calls] == [10, 10, 5]


def test_each_profile_polls_for_its_own_messages(send: Send, provider: type[Polled]) -> None:
    ours, theirs = send(profile="default"), send(2, profile="shop")
    others = send(agent="bank")
    poll()
    assert polled(provider) == [[f"p-{n}" for n in ours], [f"p-{n}" for n in theirs]]
    poll("bank")
    assert polled(provider)[-1] == [f"p-{n}" for n in others]


def test_provider_that_does_not_respond_is_left_alone_until_the_next_interval(
    outbox: Outbox, send: Send, provider: type[Polled], caplog: pytest.LogCaptureFixture
) -> None:
    send(25)
    errors = {
        Unavailable("503", "try later"): logging.WARNING,
        Misconfigured("401", "invalid key"): logging.ERROR,
    }
    for error, level in errors.items():
        caplog.clear()
        provider.calls, provider.error = [], error
        assert poll() == 0
        assert [len(call) for call in provider.calls] == [10]
        [record] = [record for record in caplog.records if record.name == "app.inbound.polling"]
        assert (record.levelno, str(error) in record.getMessage()) == (level, True)
        assert outbox.execute("SELECT count(*) FROM agent_states WHERE paused").scalar_one() == 0
        make_due(outbox)
    provider.error, provider.kind = None, "delivered"
    assert poll() == 25


def test_messages_of_a_poll_that_crashed_are_polled_for_again(
    outbox: Outbox, send: Send, provider: type[Polled]
) -> None:
    send()
    provider.error = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        poll()
    assert waits(outbox) == [MINUTE]


def test_removed_profile_does_not_block_the_others(
    outbox: Outbox, send: Send, provider: type[Polled], caplog: pytest.LogCaptureFixture
) -> None:
    send(10, profile="shop")
    [number] = send()
    outbox.execute("UPDATE messages SET profile = 'removed' WHERE profile = 'shop'")
    poll()
    assert polled(provider) == [[f"p-{number}"]]
    assert "profile removed, which is not configured" in caplog.text


def test_hanging_provider_holds_one_thread_and_no_connection(
    outbox: Outbox, send: Send, provider: type[Polled], caplog: pytest.LogCaptureFixture
) -> None:
    send()
    is_called, may_respond = threading.Event(), threading.Event()

    def hang() -> None:
        is_called.set()
        assert may_respond.wait(60)

    provider.during_call = staticmethod(hang)
    caplog.set_level(logging.INFO)
    with ThreadPoolExecutor(1) as worker:
        hanging = worker.submit(poll)
        try:
            assert is_called.wait(60)
            assert poll() == 0
            assert "agent mts is already being polled" in caplog.text
            assert db.engine().pool.checkedout() == 0
            assert poll("bank") == 0, "other agents are not affected"
        finally:
            may_respond.set()
        assert hanging.result() == 1
    assert len(provider.calls) == 1


def test_overlapping_rounds_poll_for_different_messages(
    outbox: Outbox, send: Send, provider: type[Polled]
) -> None:
    """They overlap where a holder outlives its lease, as when its process was frozen."""
    send(25)

    def take_over() -> None:
        provider.during_call = staticmethod(lambda: None)
        outbox.execute("UPDATE leases SET lease_until = now() - interval '1 second'")
        assert poll() == 15

    provider.during_call = staticmethod(take_over)
    assert poll() == 10
    numbers = [number for call in polled(provider) for number in call]
    assert len(numbers) == len({*numbers}) == 25


def test_paused_agent_is_polled_for_what_it_sent_before(
    outbox: Outbox, send: Send, provider: type[Polled]
) -> None:
    [number] = send()
    pause.pause_agent(outbox.connection, "mts", reason="by hand", by="test")
    provider.kind = "delivered"
    poll()
    assert outbox.status(number) == "delivered"
