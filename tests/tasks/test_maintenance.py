"""Maintenance: early receipts are matched and old rows purged."""

from typing import Any

import pytest
from sqlalchemy import Connection

from app.outbox import receipts
from connectors.base import Receipt
from tests.app.outbox.driver import Outbox


@pytest.fixture
def maintenance(queues: Any) -> Any:
    from tasks.maintenance import maintenance

    return maintenance


@pytest.fixture
def outbox(connection: Connection) -> Outbox:
    return Outbox(connection)


def store(outbox: Outbox, key: str, **fields: Any) -> None:
    receipt = Receipt(**{"key": key, "kind": "delivered", "provider_message_id": "p-1", **fields})
    receipts.store(outbox.connection, "gateway", [receipt], "sms")


def keys(outbox: Outbox) -> list[str]:
    return list(outbox.execute("SELECT key FROM receipts ORDER BY key").scalars())


def test_a_receipt_that_raced_with_the_settlement_is_matched(
    maintenance: Any, outbox: Outbox
) -> None:
    number = outbox.one()
    store(outbox, "early")
    outbox.at(number, "sent")
    outbox.execute(
        "UPDATE messages SET provider_message_id = 'p-1', sent_at = now() WHERE id = :id", id=number
    )
    maintenance()
    assert outbox.status(number) == "delivered"


@pytest.mark.parametrize(
    ("days", "age", "left"),
    [
        ("90", "89 days", ["orphan", "ours"]),
        ("90", "91 days", ["ours"]),
        ("0", "9999 days", ["orphan", "ours"]),
    ],
)
def test_unmatched_receipts_are_purged_after_the_retention(
    maintenance: Any,
    outbox: Outbox,
    environment: pytest.MonkeyPatch,
    days: str,
    age: str,
    left: list[str],
) -> None:
    from app.settings import settings

    environment.setenv("POSTROOM_RETENTION_DAYS", days)
    settings.cache_clear()
    uid = str(outbox.row(outbox.one()).uid)
    store(outbox, "ours", message_uid=uid)
    store(outbox, "orphan")
    outbox.execute("UPDATE receipts SET received_at = now() - CAST(:age AS interval)", age=age)
    maintenance()
    assert keys(outbox) == left


def test_an_old_message_is_purged_with_its_receipts_and_polls(
    maintenance: Any, outbox: Outbox
) -> None:
    number = outbox.at(outbox.one(), "sent")
    store(outbox, "ours", message_uid=str(outbox.row(number).uid), kind="opened")
    outbox.execute(
        "INSERT INTO polls (message_id, agent, due_at) VALUES (:id, 'gateway', now())", id=number
    )
    outbox.move(number, finished_at="-91 days")
    maintenance()
    for table in ("messages", "receipts", "polls"):
        assert outbox.execute(f"SELECT count(*) FROM {table}").scalar_one() == 0, table
