"""Replay messages that have ended: put them back into the outbox, by id or by filter.

To replay by filter, look first with `count`, then call `replay_batch` until it returns an empty
list, each time in its own transaction and with the last id of the previous batch. No message is
replayed twice, even if it fails again in the meantime.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, func, select, update

from app.models import Message
from app.outbox.states import REPLAYABLE

REPLAY_BATCH = 500

Conditions = Sequence[ColumnElement[bool]]


def replay(connection: Connection, ids: Sequence[int]) -> list[int]:
    """Put the messages among `ids` that have ended back into the outbox and return their ids.

    They are due now, with their attempts reset. An `expires_at` in the past is removed.
    """
    statement = (
        update(Message)
        .where(Message.id.in_(ids), Message.status.in_(REPLAYABLE))
        .values(
            status="outbox",
            reason="replayed by an operator",
            due_at=func.now(),
            attempts=0,
            losses=0,
            claim_token=Message.claim_token + 1,
            expires_at=func.nullif(func.greatest(Message.expires_at, func.now()), func.now()),
            finished_at=None,
            error_code=None,
        )
        .returning(Message.id)
    )
    return list(connection.execute(statement).scalars())


def count(connection: Connection, conditions: Conditions) -> Mapping[tuple[str | None, str], int]:
    """Return the number of replayable messages that meet all `conditions`, by agent and status."""
    rows = connection.execute(
        select(Message.agent, Message.status, func.count())
        .where(Message.status.in_(REPLAYABLE), *conditions)
        .group_by(Message.agent, Message.status)
        .order_by(Message.agent, Message.status)
    )
    return {(agent, status): number for agent, status, number in rows}


def replay_batch(connection: Connection, conditions: Conditions, after: int = 0) -> list[int]:
    """Replay up to 500 messages with an id above `after` that meet all `conditions`.

    Returns their ids in order; an empty list once no message is left.
    """
    ids = connection.execute(
        select(Message.id)
        .where(Message.id > after, Message.status.in_(REPLAYABLE), *conditions)
        .order_by(Message.id)
        .limit(REPLAY_BATCH)
        .with_for_update()
    ).scalars()
    return sorted(replay(connection, list(ids)))
