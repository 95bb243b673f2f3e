"""Soft bounces: counted for each address and message, and a suppression for a time at the limit."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection

from app import settings as settings_module
from app import soft_bounces, suppression
from app.agents import Agents
from app.outbox.outcome import Outcome, failed
from connectors.base import Unavailable
from tests.app.outbox.driver import Outbox

KEY: suppression.Key = ("phone", "+4915112345678")
SOFT = Outcome(status="failed", result="rejected", code="5.2.2", suppress="soft_bounce")


@pytest.fixture
def outbox(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outbox]:
    monkeypatch.setenv("POSTROOM_SOFT_BOUNCE_LIMIT", "3")
    monkeypatch.setenv("POSTROOM_SOFT_BOUNCE_DAYS", "7")
    monkeypatch.setenv("POSTROOM_SOFT_BOUNCE_SUPPRESSION_DAYS", "2")
    settings_module.settings.cache_clear()
    yield Outbox(connection)
    settings_module.settings.cache_clear()


def bounce(outbox: Outbox) -> int:
    started, token = outbox.started()
    assert outbox.settle(started, token, SOFT)
    return started.message.id


def entry_of(outbox: Outbox) -> suppression.Entry | None:
    return suppression.find(outbox.connection, [KEY]).get(KEY)


def test_address_is_suppressed_for_a_time_at_the_limit(outbox: Outbox) -> None:
    first = bounce(outbox)
    # The same message counts once, however often it is reported.
    for _ in range(5):
        soft_bounces.record_recipient(outbox.connection, first, "5.2.2")
    bounce(outbox)
    assert entry_of(outbox) is None
    last = bounce(outbox)
    entry = entry_of(outbox)
    assert entry is not None
    assert (entry.reason, entry.detail, entry.agent) == ("soft_bounce", "5.2.2", "gateway")
    assert (entry.message_id, entry.created_by) == (last, "postroom")
    assert entry.expires_at is not None
    remaining = entry.expires_at - datetime.now(UTC)
    assert timedelta(days=1) < remaining <= timedelta(days=2)

    # Counting starts anew when the entry has expired or was removed.
    suppression.remove(outbox.connection, entry.id)
    bounce(outbox)
    assert entry_of(outbox) is None


def test_only_the_last_attempt_at_a_full_mailbox_is_a_soft_bounce(loaded_agents: Agents) -> None:
    agent = loaded_agents.by_name["gateway"]
    for is_soft in (True, False):
        error = Unavailable("4.2.2", "mailbox full", is_soft_bounce=is_soft)
        reasons = [failed(error, agent, attempt).suppress for attempt in (1, 2, 3)]
        assert reasons == [None, None, "soft_bounce" if is_soft else None]


def test_soft_bounces_stop_counting_after_their_period(outbox: Outbox) -> None:
    bounce(outbox)
    bounce(outbox)
    outbox.execute("UPDATE soft_bounces SET created_at = now() - interval '8 days'")
    bounce(outbox)
    assert entry_of(outbox) is None
    assert soft_bounces.purge(outbox.connection) == 2


def test_a_limit_of_zero_counts_nothing(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTROOM_SOFT_BOUNCE_LIMIT", "0")
    settings_module.settings.cache_clear()
    for _ in range(4):
        bounce(outbox)
    assert entry_of(outbox) is None
