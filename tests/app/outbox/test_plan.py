"""The plans of hot statements: their cost depends on what they change, not on what is stored."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import TextClause, text

from app import db
from app.attachments.resolve import FETCH_TIMEOUT
from app.outbox import claim as claims
from app.outbox.expire import EXPIRE
from app.outbox.rescue import RESCUE
from app.outbox.route import FIND_UNROUTED
from app.outbox.start import START
from tests.app.outbox.driver import LEASE, Outbox

WAITING = 20_000
AGENTS = ["a", "b", "c", "d"]
CAPACITY = 16


@pytest.fixture
def crowded(outbox: Outbox) -> Outbox:
    """Many waiting messages, half of them due later, and as many that have ended."""
    [conversation] = [outbox.row(outbox.one()).conversation_id]
    outbox.execute(
        """
        INSERT INTO messages (channel, agent, recipient, priority, conversation_id, due_at, status)
        SELECT 'sms', (CAST(:agents AS text[]))[1 + n % 4], '+4915112345678', n % 3 + 1,
            :conversation,
            now() + CASE WHEN n / 4 % 2 = 0 THEN -1 ELSE 1 END * n * interval '1 second',
            CASE WHEN n <= :waiting THEN CASE WHEN n % 7 = 0 THEN 'retry' ELSE 'outbox' END
                ELSE 'sent' END
        FROM generate_series(1, 2 * :waiting) AS n
        """,
        agents=AGENTS,
        conversation=conversation,
        waiting=WAITING,
    )
    outbox.execute("ANALYZE messages")
    return outbox


def plan(outbox: Outbox, statement: TextClause, **values: Any) -> dict[str, Any]:
    """Return the plan that PostgreSQL executed; its changes are rolled back."""
    explain = text(f"EXPLAIN (ANALYZE, FORMAT json) {statement.text}")
    with db.transaction() as connection:
        [found] = connection.execute(explain, values).scalar_one()
        connection.rollback()
    return dict(found["Plan"])


def steps(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for inner in node.get("Plans", []):
        yield from steps(inner)


def rows_read(node: dict[str, Any]) -> float:
    """Return how many rows of messages a plan read."""
    return sum(
        (step["Actual Rows"] + step.get("Rows Removed by Filter", 0)) * step["Actual Loops"]
        for step in steps(node)
        if step.get("Relation Name") == "messages" and "Scan" in step["Node Type"]
    )


def scans(node: dict[str, Any]) -> set[tuple[str, str | None]]:
    return {
        (step["Node Type"], step.get("Index Name"))
        for step in steps(node)
        if step.get("Relation Name") == "messages" and "Scan" in step["Node Type"]
    }


def test_a_claim_walks_the_index_of_due_messages_no_further_than_its_capacity(
    crowded: Outbox,
) -> None:
    found = plan(
        crowded,
        claims.CLAIM,
        agents=AGENTS,
        capacities=[CAPACITY] * len(AGENTS),
        lease=LEASE.total_seconds(),
    )
    assert ("Index Scan", "messages_due") in scans(found)
    assert scans(found) <= {("Index Scan", "messages_due"), ("Index Scan", "messages_pkey")}
    claimed = CAPACITY * len(AGENTS)
    for step in steps(found):
        if step["Node Type"] in {"Sort", "Incremental Sort"}:
            assert step["Actual Rows"] <= claimed, "sorts more than it claimed"
    assert rows_read(found) <= 3 * claimed


def test_a_claim_reads_no_rows_if_nothing_is_due(crowded: Outbox) -> None:
    crowded.execute("UPDATE messages SET due_at = now() + interval '1 day'")
    crowded.execute("ANALYZE messages")
    found = plan(
        crowded, claims.CLAIM, agents=AGENTS, capacities=[CAPACITY] * 4, lease=LEASE.total_seconds()
    )
    assert rows_read(found) == 0


def test_the_next_due_time_is_read_from_the_top_of_the_index(crowded: Outbox) -> None:
    found = plan(crowded, claims.NEXT_DUE, agents=AGENTS, max_wait=86400)
    assert {index for _, index in scans(found)} == {"messages_due"}
    for step in steps(found):
        if "Sort" in step["Node Type"]:
            assert step["Actual Rows"] <= len(AGENTS) * 4, "sorts more than the first rows"
    assert rows_read(found) <= len(AGENTS) * 4


def test_the_state_of_a_scan_is_read_from_small_partial_indexes(
    crowded: Outbox,
) -> None:
    numbers = [claim.message_id for claim in crowded.claim(a=CAPACITY, b=CAPACITY)]
    crowded.insert()
    crowded.execute("ANALYZE messages")
    found = plan(crowded, claims.BEGIN_SCAN)
    indexes = {index for _, index in scans(found)}
    assert indexes <= {"messages_in_flight", "messages_unrouted", None}
    assert "Seq Scan" not in {kind for kind, _ in scans(found)}
    assert rows_read(found) <= len(numbers) + 1


def test_a_rescue_reads_only_expired_leases(crowded: Outbox) -> None:
    lost = [claim.message_id for claim in crowded.claim(a=CAPACITY, b=CAPACITY)][:CAPACITY]
    for number in lost:
        crowded.move(number, lease_until="-1 minute")
    crowded.execute("ANALYZE messages")
    found = plan(crowded, RESCUE, agents=AGENTS, holds=[False] * 4, max_losses=3, batch=1000)
    assert "Seq Scan" not in {kind for kind, _ in scans(found)}
    assert rows_read(found) <= 4 * CAPACITY


def test_a_start_probes_the_suppression_list_once_for_each_recipient(outbox: Outbox) -> None:
    outbox.execute(
        "INSERT INTO suppressions (channel_family, address, reason, created_by)"
        " SELECT 'email', n || '@example.com', 'complaint', 'tests'"
        " FROM generate_series(1, :entries) AS n",
        entries=WAITING,
    )
    outbox.execute("ANALYZE suppressions")
    number = outbox.one(
        channel="email",
        recipient="Ann <ann@example.com>",
        cc=["bob@example.com", "carl@example.com"],
        bcc=["dora@example.com"],
    )
    [claim] = outbox.claim()
    found = plan(
        outbox,
        START,
        ids=[number],
        tokens=[claim.token],
        lease=LEASE.total_seconds(),
        fetch_limit=FETCH_TIMEOUT.total_seconds(),
    )
    [probe] = [step for step in steps(found) if step.get("Relation Name") == "suppressions"]
    assert probe["Index Name"] == "suppressions_entry"
    assert "address" in probe["Index Cond"]
    assert (probe["Actual Loops"], probe["Actual Rows"]) == (4, 0)


def test_shared_predicates_are_inlined_and_use_their_partial_indexes(crowded: Outbox) -> None:
    crowded.insert()
    crowded.move(crowded.one(), expires_at="-1 minute")
    crowded.execute("ANALYZE messages")
    unrouted = plan(crowded, FIND_UNROUTED, batch=10)
    assert {index for _, index in scans(unrouted)} == {"messages_unrouted"}
    expiring = plan(crowded, EXPIRE, batch=10)
    assert "messages_expiring" in {index for _, index in scans(expiring)}
    assert "Seq Scan" not in {kind for kind, _ in scans(expiring)}
