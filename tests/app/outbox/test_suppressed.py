"""Nothing is sent to an address on the suppression list, whenever it came to be there."""

from typing import Any

import pytest

from app import suppression
from app.agents import Agents
from app.outbox.outcome import Outcome
from app.outbox.replay import replay
from tests.app.outbox.driver import Outbox

PHONE = "+4915112345678"
DEAD = Outcome(
    status="failed", result="rejected", code="5.1.1", reason="no such user", suppress="dead_address"
)
MAIL = {
    "channel": "email",
    "agent": "smtp",
    "recipient": "Ann <Ann@example.com>",
    "cc": ["Bob <bob@example.com>", "carl@example.com"],
    "bcc": ["dora@example.com"],
}


def suppress(outbox: Outbox, channel: str, address: str) -> suppression.Entry:
    key = suppression.key(channel, address)
    return suppression.add(outbox.connection, key, reason="opt_out", by="ann")[0]


def queued(outbox: Outbox, **values: Any) -> tuple[int, int]:
    """A queued message, and its claim."""
    number = outbox.one(**values)
    agent = values.get("agent", "gateway")
    [claim] = [one for one in outbox.claim(**{agent: 100}) if one.message_id == number]
    return number, claim.token


# When its sending begins


@pytest.mark.parametrize(
    ("values", "channel", "address"),
    [
        ({}, "sms", PHONE),
        ({"channel": "mms"}, "sms", PHONE),
        ({}, "mms", PHONE),
        (MAIL, "email", "ann@EXAMPLE.com"),
        (MAIL, "email", "BOB@example.com"),
        (MAIL, "email", "carl@example.com"),
        (MAIL, "email", "Dora <dora@example.com>"),
        ({"channel": "push", "agent": "api", "recipient": "Token"}, "push", "Token"),
    ],
    ids=str,
)
def test_what_was_suppressed_since_it_was_accepted_fails_at_its_start(
    outbox: Outbox, values: dict[str, Any], channel: str, address: str
) -> None:
    number, claim = queued(outbox, **values)
    entry = suppress(outbox, channel, address)
    assert outbox.start(number, claim) is None
    assert outbox.status(number) == "queued"
    assert outbox.reject_suppressed(number, claim)

    row = outbox.row(number)
    assert (row.status, row.error_code, row.reason) == ("failed", "suppressed", str(entry))
    assert (row.attempts, row.lease_until) == (0, None)
    assert row.finished_at is not None
    assert outbox.attempts(number) == []
    assert outbox.events(number)[-1] == ("queued", "failed")


@pytest.mark.parametrize(
    ("values", "channel", "address"),
    [
        ({}, "sms", "+4915112345679"),
        ({}, "push", PHONE),
        ({}, "sms", f"whatsapp:{PHONE}"),
        (MAIL, "email", "ann@example.org"),
        (MAIL, "http", "ann@example.com"),
        ({"channel": "push", "agent": "api", "recipient": "Token"}, "push", "token"),
    ],
    ids=str,
)
def test_another_address_or_channel_holds_nothing_back(
    outbox: Outbox, values: dict[str, Any], channel: str, address: str
) -> None:
    number, claim = queued(outbox, **values)
    suppress(outbox, channel, address)
    assert not outbox.reject_suppressed(number, claim)
    assert outbox.start(number, claim) is not None


def test_those_who_have_it_already_hold_nothing_back(outbox: Outbox) -> None:
    number, claim = queued(outbox, **MAIL)
    outbox.execute("UPDATE messages SET remaining = ARRAY['carl@example.com']")
    suppress(outbox, "email", "ann@example.com")
    assert not outbox.reject_suppressed(number, claim)
    suppress(outbox, "email", "carl@example.com")
    assert outbox.start(number, claim) is None
    assert outbox.reject_suppressed(number, claim)


@pytest.mark.parametrize(
    ("status", "lease", "claim_off", "fails"),
    [
        ("queued", "1 minute", 0, True),
        ("retry", "1 minute", 0, True),
        ("queued", "1 minute", -1, False),
        ("queued", "1 minute", 1, False),
        ("retry", None, 0, False),
        ("outbox", None, 0, False),
        ("sending", "1 minute", 0, False),
        ("cancelled", None, 0, False),
        ("sent", None, 0, False),
    ],
)
def test_only_who_holds_the_claim_fails_it(
    outbox: Outbox, status: str, lease: str | None, claim_off: int, fails: bool
) -> None:
    number = outbox.at(outbox.one(), status, lease=lease)
    suppress(outbox, "sms", PHONE)
    before = outbox.row(number)
    claim = before.claim_token + claim_off
    assert outbox.reject_suppressed(number, claim) is fails
    assert (outbox.row(number) != before) is fails


def test_what_may_not_start_for_another_reason_does_not_fail(outbox: Outbox) -> None:
    number, claim = queued(outbox)
    suppress(outbox, "sms", PHONE)
    outbox.move(number, due_at="1 hour")
    assert not outbox.reject_suppressed(number, claim)
    assert outbox.status(number) == "queued"


def test_to_replay_it_fails_again_until_the_address_is_off_the_list(outbox: Outbox) -> None:
    number, claim = queued(outbox)
    entry = suppress(outbox, "sms", PHONE)
    for _ in range(2):
        assert outbox.start(number, claim) is None
        assert outbox.reject_suppressed(number, claim)
        assert outbox.row(number).reason == str(entry)
        assert replay(outbox.connection, [number]) == [number]
        [again] = outbox.claim()
        claim = again.token
    suppression.remove(outbox.connection, entry.id)
    assert outbox.start(number, claim) is not None


# What came of a try


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({}, ("phone", PHONE)),
        ({"channel": "mms"}, ("phone", PHONE)),
        (
            {"channel": "email", "recipient": "Ann <Ann@example.com>", "cc": ["bob@example.com"]},
            ("email", "ann@example.com"),
        ),
    ],
    ids=str,
)
def test_a_dead_recipient_comes_on_the_list_as_the_try_is_recorded(
    outbox: Outbox, values: dict[str, Any], key: suppression.Key
) -> None:
    started, claim = outbox.started(**values)
    assert outbox.settle(started, claim, DEAD)
    [entry] = suppression.find(outbox.connection, {key, ("email", "bob@example.com")}).values()
    assert (entry.channel_family, entry.address) == key
    assert (entry.reason, entry.detail, entry.created_by) == ("dead_address", "5.1.1", "postroom")
    assert (entry.agent, entry.message_id) == ("gateway", started.message.id)
    row = outbox.row(started.message.id)
    assert (row.status, row.error_code) == ("failed", "5.1.1")
    assert len(outbox.attempts(row.id)) == 1


def test_who_is_on_the_list_already_stays_there_as_before(outbox: Outbox) -> None:
    started, claim = outbox.started()
    entry = suppress(outbox, "sms", PHONE)
    assert outbox.settle(started, claim, DEAD)
    assert [*suppression.find(outbox.connection, {("phone", PHONE)}).values()] == [entry]
    assert outbox.status(started.message.id) == "failed"


def test_who_may_not_record_the_try_suppresses_nobody(outbox: Outbox) -> None:
    started, claim = outbox.started()
    assert not outbox.settle(started, claim + 1, DEAD)
    assert suppression.find(outbox.connection, {("phone", PHONE)}) == {}


def test_an_entry_outlives_the_message_that_led_to_it(outbox: Outbox) -> None:
    started, claim = outbox.started()
    outbox.settle(started, claim, DEAD)
    outbox.execute("DELETE FROM messages")
    [entry] = suppression.find(outbox.connection, {("phone", PHONE)}).values()
    assert entry.message_id is None


# A plain INSERT


@pytest.mark.parametrize(
    ("values", "channel", "address"),
    [
        ({"recipient": "+49 (151) 123 456 78"}, "sms", PHONE),
        ({"channel": "email", "recipient": "Ann <ANN@Example.com>"}, "email", "ann@example.com"),
        (
            {"channel": "email", "recipient": "a@b.cd", "cc": ["Bob <BOB@Example.com>"]},
            "email",
            "bob@example.com",
        ),
        (
            {"channel": "email", "recipient": "a@b.cd", "bcc": ["bob@xn--bcher-kva.example"]},
            "email",
            "bob@bücher.example",
        ),
        ({"channel": "push", "recipient": "Token"}, "push", "Token"),
    ],
    ids=str,
)
def test_one_that_was_inserted_fails_when_it_is_adopted(
    outbox: Outbox, loaded_agents: Agents, values: dict[str, Any], channel: str, address: str
) -> None:
    entry = suppress(outbox, channel, address)
    number, good = outbox.insert(**values), outbox.insert(recipient="+4915187654321")
    outbox.route(loaded_agents)
    row = outbox.row(number)
    assert (row.status, row.error_code, row.reason) == ("failed", "suppressed", str(entry))
    assert row.finished_at is not None
    assert [claim.message_id for claim in outbox.claim()] == [good]

    suppression.remove(outbox.connection, entry.id)
    replay(outbox.connection, [number])
    outbox.route(loaded_agents)
    assert outbox.row(number).conversation_id is not None


def test_the_copies_of_one_that_was_inserted_are_normalised(
    outbox: Outbox, loaded_agents: Agents
) -> None:
    number = outbox.insert(
        channel="email",
        recipient="a@b.cd",
        cc=["Bob <Bob@EXAMPLE.com>", "c@xn--bcher-kva.example"],
        bcc=["D@EXAMPLE.com"],
    )
    outbox.route(loaded_agents)
    row = outbox.row(number)
    assert row.cc == ["Bob <Bob@example.com>", "c@bücher.example"]
    assert row.bcc == ["D@example.com"]
