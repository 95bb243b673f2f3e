"""Read the mailboxes of agents and store the bounces and messages in them."""

import logging
from collections.abc import Sequence

from app import leases
from app.agents import Agents
from app.db import transaction
from app.inbound import webhooks
from connectors.base import Inbound, Misconfigured, Receipt, SendError

log = logging.getLogger(__name__)

MAX_FAILURES = 5
"""How many mails may fail to be stored before the round ends, since the cause is not the mail."""


def mailbox_agents(agents: Agents) -> list[str]:
    """Return the agents that have a mailbox."""
    return [
        agent.name
        for agent in agents.by_name.values()
        if any(agents.connector(agent.name, profile).has_mailboxes for profile in agent.profiles)
    ]


def read_mailboxes(agents: Agents, agent: str) -> int:
    """Read the mailbox of each profile of an agent, unless another process is reading it.

    Returns how many receipts and messages were new.
    """
    new = 0
    for profile in agents.by_name[agent].profiles:
        if not agents.connector(agent, profile).has_mailboxes:
            continue
        with leases.hold(f"mailbox {agent}/{profile}") as is_held:
            if is_held:
                new += _read_mailbox(agents, agent, profile)
            else:
                log.info("agent %s: the mailbox of %s is already being read", agent, profile)
    return new


def _read_mailbox(agents: Agents, agent: str, profile: str) -> int:
    new = 0
    failures = 0

    def store(items: Sequence[Receipt | Inbound]) -> bool:
        nonlocal new, failures
        try:
            with transaction() as connection:
                stored = webhooks.store(connection, agents, agent, profile, items)
        except Exception:
            failures += 1
            if failures > MAX_FAILURES:
                raise
            log.exception("agent %s: cannot store a mail; it stays in its mailbox", agent)
            return False
        new += stored.receipts + stored.messages
        return True

    try:
        agents.connector(agent, profile).read_mailboxes(store)
    except SendError as error:
        level = logging.ERROR if isinstance(error, Misconfigured) else logging.WARNING
        log.log(level, "agent %s: cannot read the mailbox of %s: %s", agent, profile, error)
    return new
