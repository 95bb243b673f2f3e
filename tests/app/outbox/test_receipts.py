"""Receipts: stored once, whenever they arrive, and applied forward only."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
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
def receive(outbox: Outbox) -> Callable[..., int]:
    def receive(*given: Receipt, agent: str = "gateway") -> int:
        return receipts.store(outbox.connection, agent, given, "sms")

    return receive


@pytest.fixture
def send(outbox: Outbox) -> Callable[..., int]:
    """Return a function that makes one attempt at a new message and returns its id."""

    def send(outcome: Outcome = SENT, **values: Any) -> int:
        started, claim = outbox.started(**values)
        assert outbox.settle(started, claim, outcome)
        return started.message.id

    return send


def stored(outbox: Outbox, number: int) -> list[Any]:
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
def test_a_receipt_is_stored_and_moves_its_message(
    outbox, send, receive, kind, status, code
) -> None:
    number = send()
    at = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
    kinds = receipt(kind, code="30005", detail="unknown handset", occurred_at=at, payload={"a": 1})
    assert receive(kinds) == 1

    row = outbox.row(number)
    assert (row.status, row.error_code) == (status, code)
    if status != "sent":
        assert row.reason == f"reported as {status} by the provider: unknown handset"
        assert outbox.events(number)[-1] == ("sent", status)
    [found] = stored(outbox, number)
    assert (found.agent, found.kind, found.code, found.detail) == (
        "gateway",
        kind,
        "30005",
        "unknown handset",
    )
    assert (found.occurred_at, found.payload, found.pending) == (at, {"a": 1}, False)


def test_repeated_receipt_is_stored_once(outbox, send, receive) -> None:
    number = send()
    kinds = receipt("delivered")
    assert receive(kinds, kinds) == 1
    assert receive(kinds) == 0
    assert len(stored(outbox, number)) == 1
    assert [event for event in outbox.events(number) if event[1] == "delivered"] == [
        ("sent", "delivered")
    ]


def test_agents_may_use_the_same_receipt_key_and_provider_id(outbox, send, receive) -> None:
    number = send()
    assert receive(receipt("delivered", key="same")) == 1
    assert receive(receipt("failed", key="same"), agent="other") == 1
    assert outbox.status(number) == "delivered"


@pytest.mark.parametrize(
    ("status", "outcome"), [("sent", SENT), ("unknown", UNKNOWN), ("failed", FAILED)]
)
@pytest.mark.parametrize("kind", ["sent", "delivered"])
def test_a_receipt_by_our_own_id_settles_a_doubtful_message(
    outbox, send, receive, status, outcome, kind
) -> None:
    number = send(outcome)
    assert outbox.status(number) == status
    receive(receipt(kind, provider_message_id=None, message_uid=str(outbox.row(number).uid)))
    assert outbox.status(number) == kind
    assert outbox.row(number).sent_at is not None


def test_a_delivered_message_is_not_retried(outbox, send, receive) -> None:
    again = Outcome(status="retry", result="uncertain", code="timeout")
    number = send(again)
    claim = outbox.row(number).claim_token
    receive(receipt("delivered", provider_message_id=None, message_uid=str(outbox.row(number).uid)))
    assert outbox.status(number) == "delivered"
    assert outbox.row(number).claim_token > claim, "a waiting task is stale"
    assert outbox.claim() == []


def test_a_receipt_does_not_end_a_message_with_remaining_recipients(outbox, send, receive) -> None:
    left = Outcome(status="retry", result="unavailable", remaining=("+4915112345679",))
    number = send(left)
    uid = str(outbox.row(number).uid)
    receive(receipt("delivered", provider_message_id=None, message_uid=uid))
    assert outbox.status(number) == "retry"


def test_a_receipt_that_arrives_before_the_settlement_waits_for_it(outbox, receive) -> None:
    started, claim = outbox.started()
    receive(receipt("delivered"))
    assert outbox.status(started.message.id) == "sending"
    assert outbox.settle(started, claim)
    assert outbox.status(started.message.id) == "delivered"
    assert outbox.events(started.message.id)[-2:] == [("sending", "sent"), ("sent", "delivered")]


def test_a_receipt_by_our_own_id_waits_while_its_message_is_being_sent(outbox, receive) -> None:
    started, claim = outbox.started()
    receive(receipt("bounced", provider_message_id=None, message_uid=started.message.uid))
    assert outbox.status(started.message.id) == "sending"
    assert outbox.settle(started, claim)
    assert outbox.status(started.message.id) == "bounced"


def test_a_receipt_that_races_with_the_settlement_is_matched_by_maintenance(
    outbox, receive
) -> None:
    started, claim = outbox.started()
    number = started.message.id
    receive(receipt("delivered"))
    assert outbox.settle(started, claim, Outcome(status="sent", result="accepted"))
    # As if the two transactions had not seen each other.
    outbox.execute("UPDATE messages SET provider_message_id = 'p-1' WHERE id = :id", id=number)
    assert outbox.status(number) == "sent"
    receipts.match_all(outbox.connection)
    assert outbox.status(number) == "delivered"
    assert [one.pending for one in stored(outbox, number)] == [False]


def test_a_receipt_without_a_message_is_stored_and_purged_later(outbox, receive) -> None:
    assert receive(receipt("delivered", message_uid=str(uuid.uuid4()))) == 1
    assert receive(receipt("delivered", message_uid="garbled")) == 1
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
def test_contradictory_receipts_lead_to_the_same_status_in_every_order(
    outbox, receive, channel, agent, recipient, last
) -> None:
    for number, order in enumerate(permutations(MOVING)):
        [message] = outbox.store(channel=channel, agent=agent, recipient=recipient)
        outbox.at(message, "sent")
        provider_id = f"p-{number}"
        outbox.execute(
            "UPDATE messages SET provider_message_id = :p WHERE id = :id", p=provider_id, id=message
        )
        for kind in order:
            receive(receipt(kind, provider_message_id=provider_id), agent=agent)
        assert outbox.status(message) == last, order
        assert len(stored(outbox, message)) == len(MOVING)


@settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
@given(
    kinds=st.lists(st.sampled_from([*MOVING, *NOT_MOVING]), min_size=1, max_size=6),
    data=st.data(),
)
@example(kinds=["delivered", "bounced"], data=None)
def test_order_and_repetition_of_receipts_do_not_matter(outbox, receive, kinds, data) -> None:
    """Receipts arrive before, after and around the settlement, one by one or together."""
    ends = set()
    for variant in range(3):
        given = [(f"{number}", kind) for number, kind in enumerate(kinds)]
        if variant and data is not None:
            given = data.draw(st.permutations(given + data.draw(st.lists(st.sampled_from(given)))))
        started, claim = outbox.started()
        marked = f"p-{started.message.id}"
        all_of_them = [
            receipt(kind, key=f"{marked}-{key}", provider_message_id=marked) for key, kind in given
        ]
        before = data.draw(st.integers(0, len(given))) if data is not None else 1
        for one in all_of_them[:before]:
            receive(one)
        sent = Outcome(status="sent", result="accepted", provider_message_id=marked)
        assert outbox.settle(started, claim, sent)
        receive(*all_of_them[before:])
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
def test_a_receipt_for_a_copy_does_not_move_the_message(outbox, receive, recipient, status) -> None:
    mail = {"channel": "email", "agent": "smtp", "recipient": "Ann <ann@example.com>"}
    [number] = outbox.store(cc=["copy@example.com"], **mail)
    outbox.at(number, "sent")
    uid = str(outbox.row(number).uid)
    receive(
        receipt("bounced", provider_message_id=None, message_uid=uid, recipient=recipient),
        agent="smtp",
    )
    assert outbox.status(number) == status
    assert len(stored(outbox, number)) == 1


def test_receipts_of_an_earlier_send_do_not_move_a_replayed_message(outbox, send, receive) -> None:
    number = send()
    receive(receipt("bounced"))
    assert replay(outbox.connection, [number]) == [number]
    receive(receipt("failed"))
    assert outbox.status(number) == "outbox"

    [claim] = outbox.claim()
    started = outbox.start(number, claim.token)
    assert started is not None
    second = Outcome(status="sent", result="accepted", provider_message_id="p-2")
    assert outbox.settle(started, claim.token, second)
    assert outbox.status(number) == "sent"
    receive(receipt("failed"))
    assert outbox.status(number) == "sent"
    receive(receipt("delivered", provider_message_id="p-2"))
    assert outbox.status(number) == "delivered"


@pytest.mark.parametrize("status", ["outbox", "queued", "cancelled", "expired"])
def test_a_receipt_does_not_move_a_message_that_was_not_sent(outbox, receive, status) -> None:
    number = outbox.at(outbox.one(), status)
    receive(receipt("failed", provider_message_id=None, message_uid=str(outbox.row(number).uid)))
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
def test_a_receipt_can_suppress_its_recipient(outbox, send, receive, kind, reason, known) -> None:
    number = send() if known else None
    receive(
        receipt(kind, suppress=True, code="21610", recipient=None if known else "+4915112345678")
    )
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
def test_a_receipt_can_only_suppress_recipients_of_its_message(
    outbox, receive, recipient, suppressed
) -> None:
    [number] = outbox.store(
        channel="email", agent="smtp", recipient="Ann <ann@example.com>",
        cc=["copy@example.com"], bcc=["hidden@example.com"],
    )  # fmt: skip
    uid = str(outbox.row(outbox.at(number, "sent")).uid)
    forged = receipt(
        "bounced", provider_message_id=None, message_uid=uid, recipient=recipient, suppress=True
    )
    receive(forged, agent="smtp")
    found = outbox.execute("SELECT address FROM suppressions").scalars().all()
    assert found == ([suppressed] if suppressed else [])


def test_a_report_on_an_invented_message_suppresses_no_address(outbox, receive) -> None:
    receive(receipt("bounced", message_uid=str(uuid.uuid4()), recipient="+4915112345678",
                 suppress=True))  # fmt: skip
    assert outbox.execute("SELECT count(*) FROM suppressions").scalar_one() == 0


def test_reports_that_a_recipient_may_have_forged_are_not_trusted(outbox, receive) -> None:
    """Each row: origin of the report, copies of the message, kind; then status and suppression."""
    table = [
        ("verified", [], "bounced", "bounced", "hard_bounce"),
        ("verified", ["bob@example.com"], "bounced", "bounced", "hard_bounce"),
        ("addressed", [], "bounced", "bounced", "hard_bounce"),
        ("addressed", ["bob@example.com"], "bounced", "bounced", "soft_bounce"),
        ("unverified", [], "bounced", "bounced", "soft_bounce"),
        ("unverified", ["bob@example.com"], "bounced", "sent", "soft_bounce"),
        ("verified", ["bob@example.com"], "complained", "sent", "complaint"),
        ("unverified", [], "complained", "sent", "complaint"),
        ("unverified", ["bob@example.com"], "complained", "sent", None),
        ("addressed", ["bob@example.com"], "unsubscribed", "sent", None),
    ]
    failures = []
    for origin, copies, kind, status, reason in table:
        started, claim = outbox.started(channel="email", recipient="ann@example.com", cc=copies)
        assert outbox.settle(started, claim, SENT)
        receive(
            receipt(
                kind,
                provider_message_id=None,
                message_uid=started.message.uid,
                recipient="ann@example.com",
                suppress=True,
                origin=origin,
            )
        )
        soft = outbox.execute("SELECT 'soft_bounce' FROM soft_bounces").scalars().all()
        reasons = [*outbox.execute("SELECT reason FROM suppressions").scalars(), *soft]
        found = (outbox.status(started.message.id), reasons)
        if found != (status, [reason] if reason else []):
            failures.append((origin, copies, kind, found))
        outbox.execute("DELETE FROM suppressions")
        outbox.execute("DELETE FROM soft_bounces")
    assert not failures


def test_same_content_is_a_new_report_after_the_repeat_window_or_a_replay(
    outbox, send, receive
) -> None:
    number = send()
    report = receipt("failed", key="body", repeat_window=timedelta(hours=1))
    assert [receive(report), receive(report)] == [1, 0]
    outbox.execute("UPDATE receipts SET received_at = now() - interval '2 hours'")
    assert [receive(report), receive(report)] == [1, 0]
    replay(outbox.connection, [number])
    assert [receive(report), receive(report)] == [1, 0]


def test_the_provider_can_name_the_suppression_reason(outbox, send, receive) -> None:
    send()
    receive(receipt("failed", suppress="opt_out"))
    assert outbox.execute("SELECT reason FROM suppressions").scalars().all() == ["opt_out"]


def test_a_soft_bounce_suppresses_no_address(outbox, send, receive) -> None:
    send()
    receive(receipt("bounced"), receipt("failed", suppress=True, recipient="no number"))
    assert outbox.execute("SELECT count(*) FROM suppressions").scalar_one() == 0


def test_text_that_postgresql_cannot_store_is_replaced_in_receipts(outbox, send, receive) -> None:
    number = send()
    receive(receipt("delivered", detail="a\0b\ud800c", payload={"x\0": ["\udfff", 1, None]}))
    [found] = stored(outbox, number)
    assert found.detail == "a\ufffdb\ufffdc"
    assert found.payload == {"x\ufffd": ["\ufffd", 1, None]}
