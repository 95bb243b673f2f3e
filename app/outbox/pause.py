"""Pause and resume agents and the scheduler."""

from sqlalchemy import Connection, func, text, update
from sqlalchemy.dialects.postgresql import insert

from app.models import AgentState, SchedulerState
from app.outbox import claim

# Takes queued messages and waiting Celery retries back from their tasks.
RECALL = text("""
UPDATE messages
SET status = waiting_status(attempts), reason = 'paused', lease_until = NULL,
    claim_token = claim_token + 1
WHERE lease_until IS NOT NULL AND status IN ('queued', 'retry')
    AND agent = coalesce(:agent, agent)
""")

# Whatever a provider asked to wait for, an operator decides that it is over.
END_WAITS = text("""
UPDATE messages SET due_at = now()
WHERE status = 'retry' AND lease_until IS NULL AND due_at > now()
    AND agent = coalesce(:agent, agent)
""")


def pause_agent(connection: Connection, agent: str, *, reason: str | None, by: str) -> None:
    """Stop sending through `agent` as of this commit. Sends in progress finish."""
    claim.lock(connection)
    _set_agent(connection, agent, paused=True, reason=reason, by=by)
    connection.execute(RECALL, {"agent": agent})


def resume_agent(connection: Connection, agent: str, *, by: str) -> None:
    """Send through `agent` again. Its messages that wait for a retry are due now."""
    _set_agent(connection, agent, paused=False, reason=None, by=by)
    connection.execute(END_WAITS, {"agent": agent})
    notify(connection)


def pause_scheduler(connection: Connection, *, by: str) -> None:
    """Stop sending anything as of this commit. Sends in progress finish."""
    claim.lock(connection)
    _set_scheduler(connection, running=False, by=by)
    connection.execute(RECALL, {"agent": None})


def resume_scheduler(connection: Connection, *, by: str) -> None:
    """Send again. Messages that wait for a retry are due now."""
    _set_scheduler(connection, running=True, by=by)
    connection.execute(END_WAITS, {"agent": None})
    notify(connection)


def notify(connection: Connection) -> None:
    """Wake the leading worker: it scans as soon as this transaction commits."""
    connection.execute(text("NOTIFY outbox"))


def _set_agent(
    connection: Connection, agent: str, *, paused: bool, reason: str | None, by: str
) -> None:
    values = {"paused": paused, "reason": reason, "changed_by": by, "changed_at": func.now()}
    connection.execute(
        insert(AgentState)
        .values(agent=agent, **values)
        .on_conflict_do_update(index_elements=[AgentState.agent], set_=values)
    )


def _set_scheduler(connection: Connection, *, running: bool, by: str) -> None:
    connection.execute(
        update(SchedulerState).values(running=running, changed_by=by, changed_at=func.now())
    )
