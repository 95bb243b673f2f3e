"""Cancel messages before they are sent."""

from collections.abc import Sequence

from sqlalchemy import Connection, func, update

from app.models import Message
from app.outbox.states import CANCELLABLE


def cancel(connection: Connection, ids: Sequence[int]) -> list[int]:
    """Cancel the messages among `ids` that have not started sending and return their ids.

    Once the transaction of `connection` is committed, they will not be sent.
    """
    statement = (
        update(Message)
        .where(Message.id.in_(ids), Message.status.in_(CANCELLABLE))
        .values(
            status="cancelled",
            reason="cancelled by an operator",
            lease_until=None,
            finished_at=func.now(),
        )
        .returning(Message.id)
    )
    return list(connection.execute(statement).scalars())
