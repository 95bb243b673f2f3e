"""Collects what lies ready for an agent at its provider, as mail does in a mailbox."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import text

from app.agents import Agents
from app.db import autocommit, transaction
from app.inbound import webhooks as receiving
from connectors.base import Inbound, Misconfigured, Receipt, SendError

log = logging.getLogger(__name__)

MAX_FAILURES = 5
"""How many pieces may fail to be kept before it is no fault of theirs."""

TRY_LOCK = text("SELECT pg_try_advisory_lock(hashtextextended('collect ' || :agent, 0))")
UNLOCK = text("SELECT pg_advisory_unlock(hashtextextended('collect ' || :agent, 0))")


def mailbox_agents(agents: Agents) -> list[str]:
    """The agents that have something to collect."""
    return [
        agent.name
        for agent in agents.by_name.values()
        if any(agents.connector(agent.name, profile).has_mailboxes for profile in agent.profiles)
    ]


def collect(agents: Agents, agent: str) -> int:
    """One round for all profiles of `agent`; returns how many receipts and messages were new.
    While another process is at it, this one leaves it alone."""
    with _turn(agent) as is_ours:
        if not is_ours:
            log.info("agent %s is still collecting", agent)
            return 0
        return sum(_collect(agents, agent, name) for name in agents.by_name[agent].profiles)


@contextmanager
def _turn(agent: str) -> Iterator[bool]:
    """Whether it is our turn, and until we are done nobody else's; wherever we die, PostgreSQL
    notices."""
    with autocommit() as connection:
        is_ours = connection.execute(TRY_LOCK, {"agent": agent}).scalar_one()
        try:
            yield is_ours
        finally:
            if is_ours:
                connection.execute(UNLOCK, {"agent": agent})


def _collect(agents: Agents, agent: str, profile: str) -> int:
    connector = agents.connector(agent, profile)
    if not connector.has_mailboxes:
        return 0
    new = 0
    failures = 0

    def keep(items: Sequence[Receipt | Inbound]) -> bool:
        nonlocal new, failures
        try:
            with transaction() as connection:
                kept = receiving.keep(connection, agents, agent, profile, items)
        except Exception:
            failures += 1
            if failures > MAX_FAILURES:
                raise
            log.exception("agent %s cannot keep what it collected; it stays where it was", agent)
            return False
        new += kept.receipts + kept.messages
        return True

    try:
        connector.read_mailboxes(keep)
    except SendError as problem:
        level = logging.ERROR if isinstance(problem, Misconfigured) else logging.WARNING
        log.log(level, "agent %s cannot collect: %s", agent, problem)
    return new
