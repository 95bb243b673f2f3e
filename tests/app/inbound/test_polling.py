"""Asking providers that do not call back: whom, how often, until when, and what then."""

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
from app.outbox.outcome import Outcome
from app.outbox.pause import pause_agent
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
connector = "asked"
profiles = { default = {}, shop = {} }

[agents.bank]
connector = "asked"

[agents.gateway]
connector = "gateway"
channels = ["mms"]
settings = { url = "http://127.0.0.1:9" }
"""


class Asked(Connector[ConnectorSettings]):
    """Answers a poll with what the test says, by the provider's id of each message."""

    Settings = ConnectorSettings
    channels = frozenset({"sms"})
    can_poll = True
    calls: ClassVar[list[list[SentMessage]]] = []
    answer: ClassVar[Callable[[SentMessage], list[Receipt]]]
    meanwhile: ClassVar[Callable[[], None]]

    @property
    def deadline(self) -> timedelta:
        return timedelta(seconds=20)

    def send(self, message: OutboundMessage) -> Accepted:
        raise AssertionError("nothing is sent here")

    def poll(self, messages: Any) -> list[Receipt]:
        self.calls.append([*messages])
        type(self).meanwhile()
        return [receipt for message in messages for receipt in type(self).answer(message)]


def says(kind: str) -> Callable[[SentMessage], list[Receipt]]:
    def answer(message: SentMessage) -> list[Receipt]:
        number = message.provider_message_id
        return [Receipt(key=f"{number}:{kind}", kind=kind, provider_message_id=number)]

    return answer


def fails(error: Exception) -> Callable[[SentMessage], list[Receipt]]:
    def answer(message: SentMessage) -> list[Receipt]:
        raise error

    return answer


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch, agents_file: Path) -> type[Asked]:
    agents_file.write_text(FILE)
    known = {"asked": Asked, "gateway": registry.load("gateway")}
    monkeypatch.setattr(registry, "load", known.__getitem__)
    monkeypatch.setattr(polling, "ASKED_AT_ONCE", 10)
    Asked.calls, Asked.answer = [], staticmethod(lambda message: [])
    Asked.meanwhile = staticmethod(lambda: None)
    return Asked


@pytest.fixture
def outbox(provider: type[Asked], connection: Connection) -> Outbox:
    return Outbox(connection)


@pytest.fixture
def send(outbox: Outbox) -> Callable[..., list[int]]:
    """Messages that their provider took, and that are due to be asked for."""

    def send(count: int = 1, agent: str = "mts", **values: Any) -> list[int]:
        numbers = outbox.store(count, agent=agent, **values)
        for claim in outbox.claim(**{agent: count}):
            started = outbox.start(claim.message_id, claim.token)
            assert started is not None
            taken = {"provider_message_id": f"p-{claim.message_id}", "is_polled": True}
            sent = Outcome(status="sent", result="accepted", **taken)
            assert outbox.settle(started, claim.token, sent)
        make_due(outbox)
        return numbers

    return send


def make_due(outbox: Outbox) -> None:
    outbox.execute("UPDATE polls SET due_at = now()")


def waits(outbox: Outbox) -> list[timedelta]:
    """How long until each message is asked for again."""
    rows = outbox.execute("SELECT due_at - now() AS wait FROM polls ORDER BY message_id")
    return [timedelta(seconds=round(row.wait.total_seconds())) for row in rows]


def asked(provider: type[Asked]) -> list[list[str]]:
    return [sorted(message.provider_message_id for message in call) for call in provider.calls]


def poll(agent: str = "mts") -> int:
    return polling.poll(agents(), agent)


def test_the_agents_to_poll_are_those_whose_connector_says_so(
    provider: type[Asked], loaded_agents: Agents
) -> None:
    assert polling.polled_agents(loaded_agents) == ["mts", "bank"]


def test_what_a_provider_says_becomes_the_status_and_ends_the_asking(
    outbox: Outbox, send: Callable[..., list[int]], provider: type[Asked]
) -> None:
    [number] = send()
    provider.answer = staticmethod(says("delivered"))
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


@pytest.mark.parametrize("kind", ["sent", "queued", "deferred", "unrecognised"])
def test_what_is_no_last_word_is_kept_once_and_asked_for_again(
    outbox: Outbox, send: Callable[..., list[int]], provider: type[Asked], kind: str
) -> None:
    [number] = send()
    provider.answer = staticmethod(says(kind))
    assert poll() == 1
    make_due(outbox)
    assert poll() == 0
    assert outbox.status(number) == "sent"
    assert len(provider.calls) == 2


def test_a_message_is_asked_for_ever_less_often(
    outbox: Outbox, send: Callable[..., list[int]], provider: type[Asked]
) -> None:
    send()
    seen = []
    for _ in range(7):
        poll()
        seen += waits(outbox)
        make_due(outbox)
    assert seen == [MINUTE * minutes for minutes in (1, 2, 5, 15, 60, 60, 60)]


def test_nothing_is_asked_for_before_its_time(
    outbox: Outbox, send: Callable[..., list[int]], provider: type[Asked]
) -> None:
    send()
    outbox.execute("UPDATE polls SET due_at = now() + interval '1 minute'")
    assert poll() == 0
    assert provider.calls == []


def test_after_72_hours_a_message_is_asked_for_no_more_and_stays_sent(
    outbox: Outbox,
    send: Callable[..., list[int]],
    provider: type[Asked],
    caplog: pytest.LogCaptureFixture,
) -> None:
    old, young = send(2)
    outbox.move(old, sent_at="-72 hours -1 second")
    outbox.move(young, sent_at="-71 hours -59 minutes")
    poll()
    assert asked(provider) == [[f"p-{young}"]]
    assert outbox.status(old) == "sent"
    assert outbox.execute("SELECT message_id FROM polls").scalars().all() == [young]
    assert "no last word of 1 messages" in caplog.text


def test_many_are_asked_for_so_many_at_a_time_and_each_once(
    outbox: Outbox, send: Callable[..., list[int]], provider: type[Asked]
) -> None:
    send(25)
    provider.answer = staticmethod(says("sent"))
    assert poll() == 25
    assert [len(call) for call in provider.calls] == [10, 10, 5]


def test_each_profile_is_asked_for_its_own(
    outbox: Outbox, send: Callable[..., list[int]], provider: type[Asked]
) -> None:
    ours, theirs = send(profile="default"), send(2, profile="shop")
    others = send(agent="bank")
    poll()
    assert asked(provider) == [[f"p-{n}" for n in ours], [f"p-{n}" for n in theirs]]
    poll("bank")
    assert asked(provider)[-1] == [f"p-{n}" for n in others]


@pytest.mark.parametrize(
    ("error", "level"),
    [
        (Unavailable("503", "try later"), logging.WARNING),
        (Misconfigured("401", "who are you"), logging.ERROR),
    ],
)
def test_a_provider_that_does_not_answer_is_told_and_asked_again_later(
    outbox: Outbox,
    send: Callable[..., list[int]],
    provider: type[Asked],
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    level: int,
) -> None:
    send(25)
    provider.answer = staticmethod(fails(error))
    assert poll() == 0
    assert [len(call) for call in provider.calls] == [10], "it is left alone until later"
    [record] = [record for record in caplog.records if record.name == "app.inbound.polling"]
    assert (record.levelno, str(error) in record.getMessage()) == (level, True)
    assert outbox.execute("SELECT count(*) FROM agent_states WHERE paused").scalar_one() == 0
    make_due(outbox)
    provider.answer = staticmethod(says("delivered"))
    assert poll() == 25


def test_what_its_asker_takes_with_it_is_asked_for_again(
    outbox: Outbox, send: Callable[..., list[int]], provider: type[Asked]
) -> None:
    send()
    provider.answer = staticmethod(fails(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        poll()
    assert waits(outbox) == [MINUTE]


def test_a_profile_that_is_gone_does_not_stand_in_the_way_of_the_others(
    outbox: Outbox,
    send: Callable[..., list[int]],
    provider: type[Asked],
    caplog: pytest.LogCaptureFixture,
) -> None:
    send(10, profile="shop")
    [number] = send()
    outbox.execute("UPDATE messages SET profile = 'gone' WHERE profile = 'shop'")
    poll()
    assert asked(provider) == [[f"p-{number}"]]
    assert "no profile gone" in caplog.text


def test_two_at_once_ask_for_different_messages_and_hold_no_connection(
    outbox: Outbox, send: Callable[..., list[int]], provider: type[Asked]
) -> None:
    send(25)
    meet = threading.Barrier(2, timeout=60)
    connections: list[int] = []

    def meanwhile() -> None:
        if len(connections) < 2:
            meet.wait()
            connections.append(db.engine().pool.checkedout())
            meet.wait()

    provider.answer, provider.meanwhile = staticmethod(says("sent")), staticmethod(meanwhile)
    with ThreadPoolExecutor(2) as askers:
        assert sum(askers.map(lambda _: poll(), range(2))) == 25
    numbers = [number for call in asked(provider) for number in call]
    assert len(numbers) == len({*numbers}) == 25
    assert connections == [0, 0]


def test_a_paused_agent_is_asked_for_what_it_sent_before(
    outbox: Outbox, send: Callable[..., list[int]], provider: type[Asked]
) -> None:
    [number] = send()
    pause_agent(outbox.connection, "mts", reason="by hand", by="test")
    provider.answer = staticmethod(says("delivered"))
    poll()
    assert outbox.status(number) == "delivered"
