"""What people do to messages, agents and the scheduler, and what time does."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Update,
    case,
    delete,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from app.models import AgentState, IdempotencyKey, Message, SchedulerState
from app.outbox import claim as claims

CANCELLABLE = frozenset({"outbox", "retry", "queued"})
REPLAYABLE = frozenset({"failed", "unknown", "cancelled", "expired", "bounced", "delivered"})
IDEMPOTENCY_WINDOW = timedelta(hours=24)
AT_ONCE = 1000


def cancel(connection: Connection, ids: Sequence[int]) -> list[int]:
    """Cancel those of `ids` that nobody has begun to send, and name them. They will not be sent."""
    return _update(
        connection,
        update(Message)
        .where(Message.id.in_(ids), Message.status.in_(CANCELLABLE))
        .values(
            status="cancelled",
            reason="cancelled by hand",
            lease_until=None,
            finished_at=func.now(),
        ),
    )


def replay(connection: Connection, ids: Sequence[int]) -> list[int]:
    """Put those of `ids` that have ended back into the outbox, due now, and name them.

    Their tries start anew. One that had expired no longer does.
    """
    return _update(
        connection,
        update(Message)
        .where(Message.id.in_(ids), Message.status.in_(REPLAYABLE))
        .values(
            status="outbox",
            reason="replayed by hand",
            due_at=func.now(),
            attempts=0,
            claim=Message.claim + 1,
            expires_at=func.nullif(func.greatest(Message.expires_at, func.now()), func.now()),
            finished_at=None,
            error_code=None,
        ),
    )


def expire(connection: Connection) -> int:
    """End the messages whose time ran out before they were sent, up to 1,000 at once; returns how
    many."""
    late = (
        select(Message.id)
        .where(Message.status.in_(CANCELLABLE), Message.expires_at <= func.now())
        .order_by(Message.expires_at)
        .limit(AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    return connection.execute(
        update(Message)
        .where(_one_of(late))
        .values(
            status="expired",
            reason="not sent before expires_at",
            lease_until=None,
            finished_at=func.now(),
        )
    ).rowcount


def forget(connection: Connection, older_than: timedelta) -> int:
    """Delete messages that ended longer ago than `older_than`, with all that hangs on them, up to
    1,000 at once; returns how many."""
    old = (
        select(Message.id)
        .where(Message.finished_at < func.now() - older_than)
        .order_by(Message.finished_at)
        .limit(AT_ONCE)
        .with_for_update(skip_locked=True)  # or one that is being replayed would go too
    )
    return connection.execute(delete(Message).where(_one_of(old))).rowcount


def forget_idempotency_keys(connection: Connection) -> int:
    """Delete the answers that are no longer given again, and count them."""
    return connection.execute(
        delete(IdempotencyKey).where(IdempotencyKey.created_at < func.now() - IDEMPOTENCY_WINDOW)
    ).rowcount


def pause_agent(connection: Connection, code: str, *, reason: str | None, by: str) -> None:
    """Send nothing through `code` from this commit on; a send under way ends by itself."""
    claims.lock(connection)
    _set_agent(connection, code, paused=True, reason=reason, by=by)
    _call_back(connection, Message.agent == code)


def resume_agent(connection: Connection, code: str, *, by: str) -> None:
    """Go on with `code` where it was paused."""
    _set_agent(connection, code, paused=False, reason=None, by=by)
    wake(connection)


def stop_scheduler(connection: Connection, *, by: str) -> None:
    """Send nothing at all from this commit on; sends under way end by themselves."""
    claims.lock(connection)
    _set_scheduler(connection, running=False, by=by)
    _call_back(connection, Message.agent.is_not(None))


def start_scheduler(connection: Connection, *, by: str) -> None:
    """Go on where the scheduler was stopped."""
    _set_scheduler(connection, running=True, by=by)
    wake(connection)


def wake(connection: Connection) -> None:
    """Ring the bell: the listeners scan as soon as this transaction commits."""
    connection.execute(text("NOTIFY outbox"))


def _one_of(found: Select[int]) -> ColumnElement[bool]:
    """As an array, which is made once: a subquery with a limit may be run again for each row."""
    return Message.id == func.any(func.array(found.scalar_subquery()))


def _call_back(connection: Connection, condition: ColumnElement[bool]) -> None:
    """Take queued messages and waiting Celery retries out of the hands of their tasks."""
    connection.execute(
        update(Message)
        .where(Message.lease_until.is_not(None), Message.status.in_(("queued", "retry")), condition)
        .values(
            status=case((Message.attempts == 0, "outbox"), else_="retry"),
            reason="paused",
            lease_until=None,
            claim=Message.claim + 1,
        )
    )


def _set_agent(
    connection: Connection, code: str, *, paused: bool, reason: str | None, by: str
) -> None:
    values = {"paused": paused, "reason": reason, "changed_by": by, "changed_at": func.now()}
    connection.execute(
        insert(AgentState)
        .values(agent=code, **values)
        .on_conflict_do_update(index_elements=[AgentState.agent], set_=values)
    )


def _set_scheduler(connection: Connection, *, running: bool, by: str) -> None:
    connection.execute(
        update(SchedulerState).values(running=running, changed_by=by, changed_at=func.now())
    )


def _update(connection: Connection, statement: Update) -> list[int]:
    return list(connection.execute(statement.returning(Message.id)).scalars())
