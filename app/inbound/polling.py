"""Poll the providers that send no webhooks for the receipts of sent messages.

A message is polled for while it is `sent`, at growing intervals, until its provider reports a
final status or 72 hours have passed. Polling continues while its agent is paused, since it sends
nothing.
"""

import logging
from collections.abc import Sequence
from datetime import timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import Row, text

from app import leases
from app.agents import Agents
from app.db import transaction
from app.inbound.webhooks import store_receipts
from connectors.base import Misconfigured, Receipt, SendError, SentMessage

log = logging.getLogger(__name__)

BATCH = 100
INTERVALS = tuple(timedelta(minutes=minutes) for minutes in (1, 2, 5, 15, 60))
MAX_AGE = timedelta(hours=72)

# Sets the next time before the provider is called, so that the messages of a process that crashes
# are polled for again.
CLAIM = text("""
WITH due AS (
    SELECT message_id FROM polls
    WHERE agent = :agent AND due_at <= now()
    ORDER BY due_at
    LIMIT :batch
    FOR UPDATE SKIP LOCKED
)
UPDATE polls
SET polls = polls + 1,
    due_at = now() + (CAST(:intervals AS interval[]))[least(polls + 1, cardinality(:intervals))]
FROM due JOIN messages ON messages.id = due.message_id
WHERE polls.message_id = due.message_id AND messages.status = 'sent'
RETURNING CAST(uid AS text) AS uid, profile, channel, recipient, provider_message_id, sent_at
""")

GIVE_UP = text("""
DELETE FROM polls USING messages
WHERE messages.id = polls.message_id AND polls.agent = :agent
    AND messages.status = 'sent' AND messages.sent_at < now() - CAST(:max_age AS interval)
""")


def polled_agents(agents: Agents) -> list[str]:
    """Return the agents whose provider must be polled."""
    return [
        agent.name
        for agent in agents.by_name.values()
        if any(agents.connector(agent.name, profile).can_poll for profile in agent.profiles)
    ]


def poll(agents: Agents, agent: str) -> int:
    """Poll the provider of an agent for all messages that are due, and store its receipts.

    Returns how many receipts were new. Does nothing while another process polls for this agent.
    Ends early if the provider does not respond.
    """
    with leases.hold(f"poll {agent}") as is_held:
        if not is_held:
            log.info("agent %s is already being polled", agent)
            return 0
        _give_up(agent)
        new = 0
        is_responding = True
        while is_responding and (due := _claim(agent)):
            for profile, rows in groupby(sorted(due, key=_profile), key=_profile):
                receipts = _call_provider(agents, agent, profile, [_message(row) for row in rows])
                if receipts is None:
                    is_responding = False
                else:
                    with transaction() as connection:
                        new += store_receipts(connection, agents, agent, receipts)
        return new


def _give_up(agent: str) -> None:
    with transaction() as connection:
        count = connection.execute(GIVE_UP, {"agent": agent, "max_age": MAX_AGE}).rowcount
    if count:
        log.warning("agent %s: no final status of %s messages within 72 hours", agent, count)


def _claim(agent: str) -> Sequence[Row[Any]]:
    values = {"agent": agent, "batch": BATCH, "intervals": list(INTERVALS)}
    with transaction() as connection:
        return connection.execute(CLAIM, values).all()


def _profile(row: Row[Any]) -> str:
    return str(row.profile)


def _message(row: Row[Any]) -> SentMessage:
    return SentMessage(
        provider_message_id=row.provider_message_id,
        uid=row.uid,
        channel=row.channel,
        recipient=row.recipient,
        sent_at=row.sent_at,
    )


def _call_provider(
    agents: Agents, agent: str, profile: str, messages: Sequence[SentMessage]
) -> Sequence[Receipt] | None:
    """Return the receipts of messages, or None where the provider does not respond."""
    if profile not in agents.by_name[agent].profiles:
        log.error("agent %s: cannot poll for profile %s, which is not configured", agent, profile)
        return []
    try:
        return agents.connector(agent, profile).poll(messages)
    except SendError as error:
        level = logging.ERROR if isinstance(error, Misconfigured) else logging.WARNING
        log.log(level, "agent %s: cannot poll its provider: %s", agent, error)
        return None
