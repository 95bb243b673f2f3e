"""What providers say of a message: kept once, whenever it comes, and applied forward only."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count, permutations
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from app.outbox import receipts
from app.outbox.outcome import Outcome
from app.outbox.purge import purge_receipts
from app.outbox.replay import replay
from connectors.base import Receipt
from tests.app.outbox.driver import SENT, Outbox

UNKNOWN = Outcome(status="unknown", result="uncertain", code="timeout")
FAILED = Outcome(status="failed", result="uncertain", code="timeout", reason="gave up")
MOVING = ("sent", "failed", "delivered", "bounced")
NOT_MOVING = (
    "queued",
    "deferred",
    "opened",
    "clicked",
    "complained",
    "unsubscribed",
    "resubscribed",
    "unrecognised",
)
keys = (f"key-{number}" for number in count())


def receipt(kind: str, **fields: Any) -> Receipt:
    return Receipt(**{"key": next(keys), "kind": kind, "provider_message_id": "p-1", **fields})


@pytest.fixture
def keep(outbox: Outbox) -> Callable[..., int]:
    def keep(*given: Receipt, agent: str = "gateway") -> int:
        return receipts.store(outbox.connection, agent, given, "sms")

    return keep


@pytest.fixture
def send(outbox: Outbox) -> Callable[..., int]:
    """A message that was tried once, and its id."""

    def send(outcome: Outcome = SENT, **values: Any) -> int:
        started, claim = outbox.started(**values)
        assert outbox.settle(started, claim, outcome)
        return started.message.id

    return send


def kept(outbox: Outbox, number: int) -> list[Any]:
    return list(
        outbox.execute("SELECT * FROM receipts WHERE message_id = :id ORDER BY id", id=number)
    )


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("delivered", "delivered", None),
        ("bounced", "bounced", "30005"),
        ("failed", "failed", "30005"),
        ("sent", "sent", None),
        *((kind, "sent", None) for kind in NOT_MOVING),
    ],
)
def test_a_receipt_moves_its_message_and_is_kept(outbox, send, keep, kind, status, code) -> None:
    number = send()
    at = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
    said = receipt(kind, code="30005", detail="unknown handset", occurred_at=at, payload={"a": 1})
    assert keep(said) == 1

    row = outbox.row(number)
    assert (row.status, row.error_code) == (status, code)
    if status != "sent":
        assert row.reason == f"reported as {status} by the provider: unknown handset"
        assert outbox.events(number)[-1] == ("sent", status)
    [found] = kept(outbox, number)
    assert (found.agent, found.kind, found.code, found.detail) == (
        "gateway",
        kind,
        "30005",
        "unknown handset",
    )
    assert (found.occurred_at, found.payload, found.pending) == (at, {"a": 1}, False)


def test_a_repeated_receipt_is_kept_once(outbox, send, keep) -> None:
    number = send()
    said = receipt("delivered")
    assert keep(said, said) == 1
    assert keep(said) == 0
    assert len(kept(outbox, number)) == 1
    assert [event for event in outbox.events(number) if event[1] == "delivered"] == [
        ("sent", "delivered")
    ]


def test_two_agents_may_use_the_same_key_and_the_same_id(outbox, send, keep) -> None:
    number = send()
    assert keep(receipt("delivered", key="same")) == 1
    assert keep(receipt("failed", key="same"), agent="other") == 1
    assert outbox.status(number) == "delivered"


@pytest.mark.parametrize(
    ("status", "outcome"), [("sent", SENT), ("unknown", UNKNOWN), ("failed", FAILED)]
)
@pytest.mark.parametrize("kind", ["sent", "delivered"])
def test_a_receipt_by_our_own_id_tells_that_a_doubtful_message_was_sent(
    outbox, send, keep, status, outcome, kind
) -> None:
    number = send(outcome)
    assert outbox.status(number) == status
    keep(receipt(kind, provider_message_id=None, message_uid=str(outbox.row(number).uid)))
    assert outbox.status(number) == kind
    assert outbox.row(number).sent_at is not None


def test_a_message_known_to_be_delivered_is_not_tried_again(outbox, send, keep) -> None:
    again = Outcome(status="retry", result="uncertain", code="timeout")
    number = send(again)
    claim = outbox.row(number).claim_token
    keep(receipt("delivered", provider_message_id=None, message_uid=str(outbox.row(number).uid)))
    assert outbox.status(number) == "delivered"
    assert outbox.row(number).claim_token > claim, "so that a waiting task is turned away"
    assert outbox.claim() == []


def test_a_message_with_recipients_left_goes_on_to_them(outbox, send, keep) -> None:
    left = Outcome(status="retry", result="unavailable", remaining=("+4915112345679",))
    number = send(left)
    uid = str(outbox.row(number).uid)
    keep(receipt("delivered", provider_message_id=None, message_uid=uid))
    assert outbox.status(number) == "retry"


def test_a_receipt_that_comes_before_our_own_answer_waits_for_it(outbox, keep) -> None:
    started, claim = outbox.started()
    keep(receipt("delivered"))
    assert outbox.status(started.message.id) == "sending"
    assert outbox.settle(started, claim)
    assert outbox.status(started.message.id) == "delivered"
    assert outbox.events(started.message.id)[-2:] == [("sending", "sent"), ("sent", "delivered")]


def test_a_receipt_by_our_own_id_waits_while_its_message_is_being_sent(outbox, keep) -> None:
    started, claim = outbox.started()
    keep(receipt("bounced", provider_message_id=None, message_uid=started.message.uid))
    assert outbox.status(started.message.id) == "sending"
    assert outbox.settle(started, claim)
    assert outbox.status(started.message.id) == "bounced"


def test_what_came_at_the_very_moment_of_settling_is_matched_soon(outbox, keep) -> None:
    started, claim = outbox.started()
    number = started.message.id
    keep(receipt("delivered"))
    assert outbox.settle(started, claim, Outcome(status="sent", result="accepted"))
    # As if the two transactions had not seen each other.
    outbox.execute("UPDATE messages SET provider_message_id = 'p-1' WHERE id = :id", id=number)
    assert outbox.status(number) == "sent"
    receipts.match_all(outbox.connection)
    assert outbox.status(number) == "delivered"
    assert [one.pending for one in kept(outbox, number)] == [False]


def test_a_receipt_of_nobodys_message_is_kept_and_forgotten_in_time(outbox, keep) -> None:
    assert keep(receipt("delivered", message_uid=str(uuid.uuid4()))) == 1
    assert keep(receipt("delivered", message_uid="garbled")) == 1
    receipts.match_all(outbox.connection)
    assert purge_receipts(outbox.connection, receipts.MATCH_WINDOW) == 0
    outbox.execute("UPDATE receipts SET received_at = now() - interval '2 hours'")
    assert purge_receipts(outbox.connection, receipts.MATCH_WINDOW) == 2


@pytest.mark.parametrize(
    ("channel", "agent", "recipient", "last"),
    [
        ("sms", "gateway", "+4915112345678", "delivered"),
        ("email", "smtp", "Ann <Ann@example.com>", "bounced"),
    ],
)
def test_contradictory_receipts_end_alike_in_every_order(
    outbox, keep, channel, agent, recipient, last
) -> None:
    for number, order in enumerate(permutations(MOVING)):
        [message] = outbox.store(channel=channel, agent=agent, recipient=recipient)
        outbox.at(message, "sent")
        provider_id = f"p-{number}"
        outbox.execute(
            "UPDATE messages SET provider_message_id = :p WHERE id = :id", p=provider_id, id=message
        )
        for kind in order:
            keep(receipt(kind, provider_message_id=provider_id), agent=agent)
        assert outbox.status(message) == last, order
        assert len(kept(outbox, message)) == len(MOVING)


@settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
@given(
    said=st.lists(st.sampled_from([*MOVING, *NOT_MOVING]), min_size=1, max_size=6),
    data=st.data(),
)
@example(said=["delivered", "bounced"], data=None)
def test_any_order_and_repetition_of_receipts_ends_in_one_status(outbox, keep, said, data) -> None:
    """With the receipts before, after and around our own settling, one by one or together."""
    ends = set()
    for variant in range(3):
        given = [(f"{number}", kind) for number, kind in enumerate(said)]
        if variant and data is not None:
            given = data.draw(st.permutations(given + data.draw(st.lists(st.sampled_from(given)))))
        started, claim = outbox.started()
        marked = f"p-{started.message.id}"
        all_of_them = [
            receipt(kind, key=f"{marked}-{key}", provider_message_id=marked) for key, kind in given
        ]
        before = data.draw(st.integers(0, len(given))) if data is not None else 1
        for one in all_of_them[:before]:
            keep(one)
        sent = Outcome(status="sent", result="accepted", provider_message_id=marked)
        assert outbox.settle(started, claim, sent)
        keep(*all_of_them[before:])
        ends.add(outbox.status(started.message.id))
    assert len(ends) == 1


@pytest.mark.parametrize(
    ("recipient", "status"),
    [
        ("ann@example.com", "bounced"),
        ("Ann@EXAMPLE.com", "bounced"),
        ("copy@example.com", "sent"),
        (None, "bounced"),
    ],
)
def test_of_a_mail_to_several_only_its_own_recipient_counts(
    outbox, keep, recipient, status
) -> None:
    mail = {"channel": "email", "agent": "smtp", "recipient": "Ann <ann@example.com>"}
    [number] = outbox.store(cc=["copy@example.com"], **mail)
    outbox.at(number, "sent")
    uid = str(outbox.row(number).uid)
    keep(
        receipt("bounced", provider_message_id=None, message_uid=uid, recipient=recipient),
        agent="smtp",
    )
    assert outbox.status(number) == status
    assert len(kept(outbox, number)) == 1


def test_receipts_of_an_earlier_sending_do_not_move_a_replayed_message(outbox, send, keep) -> None:
    number = send()
    keep(receipt("bounced"))
    assert replay(outbox.connection, [number]) == [number]
    keep(receipt("failed"))
    assert outbox.status(number) == "outbox"

    [claim] = outbox.claim()
    started = outbox.start(number, claim.token)
    assert started is not None
    second = Outcome(status="sent", result="accepted", provider_message_id="p-2")
    assert outbox.settle(started, claim.token, second)
    assert outbox.status(number) == "sent"
    keep(receipt("failed"))
    assert outbox.status(number) == "sent"
    keep(receipt("delivered", provider_message_id="p-2"))
    assert outbox.status(number) == "delivered"


@pytest.mark.parametrize("status", ["outbox", "queued", "cancelled", "expired"])
def test_what_is_not_sent_is_not_moved(outbox, keep, status) -> None:
    number = outbox.at(outbox.one(), status)
    keep(receipt("failed", provider_message_id=None, message_uid=str(outbox.row(number).uid)))
    assert outbox.status(number) == status


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("bounced", "hard_bounce"),
        ("complained", "complaint"),
        ("unsubscribed", "opt_out"),
        ("failed", "dead_address"),
    ],
)
@pytest.mark.parametrize("known", [True, False])
def test_what_says_so_suppresses_its_recipient(outbox, send, keep, kind, reason, known) -> None:
    number = send() if known else None
    keep(receipt(kind, suppress=True, code="21610", recipient=None if known else "+4915112345678"))
    [entry] = outbox.execute("SELECT * FROM suppressions").all()
    assert (entry.channel_family, entry.address) == ("phone", "+4915112345678")
    assert (entry.reason, entry.detail, entry.agent) == (reason, "21610", "gateway")
    assert entry.message_id == number


@pytest.mark.parametrize(
    ("recipient", "suppressed"),
    [
        (None, "ann@example.com"),
        ("Ann@EXAMPLE.com", "ann@example.com"),
        ("copy@example.com", "copy@example.com"),
        ("hidden@example.com", "hidden@example.com"),
        ("somebody@example.net", None),
    ],
)
def test_only_an_address_that_the_message_went_to_can_be_suppressed_by_it(
    outbox, keep, recipient, suppressed
) -> None:
    [number] = outbox.store(
        channel="email", agent="smtp", recipient="Ann <ann@example.com>",
        cc=["copy@example.com"], bcc=["hidden@example.com"],
    )  # fmt: skip
    uid = str(outbox.row(outbox.at(number, "sent")).uid)
    forged = receipt(
        "bounced", provider_message_id=None, message_uid=uid, recipient=recipient, suppress=True
    )
    keep(forged, agent="smtp")
    found = outbox.execute("SELECT address FROM suppressions").scalars().all()
    assert found == ([suppressed] if suppressed else [])


def test_a_report_of_an_invented_message_suppresses_nobody(outbox, keep) -> None:
    keep(receipt("bounced", message_uid=str(uuid.uuid4()), recipient="+4915112345678",
                 suppress=True))  # fmt: skip
    assert outbox.execute("SELECT count(*) FROM suppressions").scalar_one() == 0


def test_the_provider_may_say_why_itself(outbox, send, keep) -> None:
    send()
    keep(receipt("failed", suppress="opt_out"))
    assert outbox.execute("SELECT reason FROM suppressions").scalars().all() == ["opt_out"]


def test_a_soft_bounce_suppresses_nothing(outbox, send, keep) -> None:
    send()
    keep(receipt("bounced"), receipt("failed", suppress=True, recipient="no number"))
    assert outbox.execute("SELECT count(*) FROM suppressions").scalar_one() == 0


def test_what_postgresql_cannot_hold_is_kept_without_it(outbox, send, keep) -> None:
    number = send()
    keep(receipt("delivered", detail="a\0b\ud800c", payload={"x\0": ["\udfff", 1, None]}))
    [found] = kept(outbox, number)
    assert found.detail == "a\ufffdb\ufffdc"
    assert found.payload == {"x\ufffd": ["\ufffd", 1, None]}
