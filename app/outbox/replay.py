"""Replay by filter: what has ended goes back into the outbox, a bounded batch at a time.

Look first with `count`, then call `replay_batch` until it returns nothing, each time in a
transaction of its own and from the last id on: so no message is met twice, even one that fails
again meanwhile.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, func, select

from app.models import Message
from app.outbox import control

BATCH = 500

Conditions = Sequence[ColumnElement[bool]]


def count(connection: Connection, conditions: Conditions) -> Mapping[tuple[str | None, str], int]:
    """How many of the messages that meet all `conditions` can be replayed, by agent and status."""
    rows = connection.execute(
        select(Message.agent, Message.status, func.count())
        .where(Message.status.in_(control.REPLAYABLE), *conditions)
        .group_by(Message.agent, Message.status)
        .order_by(Message.agent, Message.status)
    )
    return {(agent, status): number for agent, status, number in rows}


def replay_batch(connection: Connection, conditions: Conditions, after: int = 0) -> list[int]:
    """Replay the next 500 at most that meet all `conditions`, by id, beyond the id `after`.
    Returns their ids in order; empty where all have been met."""
    ids = connection.execute(
        select(Message.id)
        .where(Message.id > after, Message.status.in_(control.REPLAYABLE), *conditions)
        .order_by(Message.id)
        .limit(BATCH)
        .with_for_update()
    ).scalars()
    return sorted(control.replay(connection, list(ids)))
