"""Asks providers that do not call back what became of the messages they took.

A message is asked for while it is `sent`, ever less often, until its provider has a last word or
72 hours are over. That goes on while its agent is paused: to ask sends nothing, and what was
sent before the pause goes on happening.
"""

import logging
from collections.abc import Sequence
from datetime import timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import Row, text

from app.agents import Agents
from app.db import transaction
from app.outbox import receipts
from connectors.base import Misconfigured, Receipt, SendError, SentMessage

log = logging.getLogger(__name__)

ASKED_AT_ONCE = 100
WAITS = tuple(timedelta(minutes=minutes) for minutes in (1, 2, 5, 15, 60))
GIVEN_UP_AFTER = timedelta(hours=72)

# Before the provider is asked: whoever else looks meanwhile finds nothing due, and what an asker
# took with it when it died is asked for again.
CLAIM = text("""
WITH due AS (
    SELECT message_id FROM polls
    WHERE agent = :agent AND due_at <= now()
    ORDER BY due_at
    LIMIT :at_once
    FOR UPDATE SKIP LOCKED
)
UPDATE polls
SET polls = polls + 1,
    due_at = now() + (CAST(:waits AS interval[]))[least(polls + 1, cardinality(:waits))]
FROM due JOIN messages ON messages.id = due.message_id
WHERE polls.message_id = due.message_id AND messages.status = 'sent'
RETURNING CAST(uid AS text) AS uid, profile, channel, recipient, provider_message_id, sent_at
""")

GIVE_UP = text("""
DELETE FROM polls USING messages
WHERE messages.id = polls.message_id AND polls.agent = :agent
    AND messages.status = 'sent' AND messages.sent_at < now() - CAST(:after AS interval)
""")


def polled_agents(agents: Agents) -> list[str]:
    """The agents whose provider has to be asked."""
    return [
        agent.name
        for agent in agents.by_name.values()
        if any(agents.connector(agent.name, profile).can_poll for profile in agent.profiles)
    ]


def poll(agents: Agents, agent: str) -> int:
    """Ask the provider of `agent` for every message that is due, and keep what it says; returns
    how many receipts were new. A provider that does not answer is left alone until later."""
    _give_up(agent)
    new = 0
    answered = True
    while answered and (due := _claim(agent)):
        for profile, rows in groupby(sorted(due, key=_profile), key=_profile):
            said = _ask(agents, agent, profile, [_sent(row) for row in rows])
            answered = answered and said is not None
            if said:
                new += _keep(agents, agent, said)
    return new


def _give_up(agent: str) -> None:
    with transaction() as connection:
        count = connection.execute(GIVE_UP, {"agent": agent, "after": GIVEN_UP_AFTER}).rowcount
    if count:
        log.warning("agent %s had no last word of %s messages in 72 hours", agent, count)


def _claim(agent: str) -> Sequence[Row[Any]]:
    values = {"agent": agent, "at_once": ASKED_AT_ONCE, "waits": list(WAITS)}
    with transaction() as connection:
        return connection.execute(CLAIM, values).all()


def _profile(row: Row[Any]) -> str:
    return str(row.profile)


def _sent(row: Row[Any]) -> SentMessage:
    return SentMessage(
        provider_message_id=row.provider_message_id,
        uid=row.uid,
        channel=row.channel,
        recipient=row.recipient,
        sent_at=row.sent_at,
    )


def _ask(
    agents: Agents, agent: str, profile: str, messages: Sequence[SentMessage]
) -> Sequence[Receipt] | None:
    """What the provider says of `messages`; None where it does not answer."""
    if profile not in agents.by_name[agent].profiles:
        log.error("agent %s has no profile %s any more to ask its provider by", agent, profile)
        return []
    try:
        return agents.connector(agent, profile).poll(messages)
    except SendError as problem:
        level = logging.ERROR if isinstance(problem, Misconfigured) else logging.WARNING
        log.log(level, "agent %s cannot ask its provider: %s", agent, problem)
        return None


def _keep(agents: Agents, agent: str, said: Sequence[Receipt]) -> int:
    with transaction() as connection:
        return receipts.store(connection, agent, said, min(agents.by_name[agent].channels))
