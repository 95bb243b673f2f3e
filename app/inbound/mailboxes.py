"""Read the mailboxes of agents and store the e-mails in them, which are parsed later."""

import logging

from app import leases
from app.agents import Agents
from app.db import transaction
from app.inbound import unparsed
from connectors.base import Misconfigured, RawMail, SendError

log = logging.getLogger(__name__)


def mailbox_agents(agents: Agents) -> list[str]:
    """Return the agents that have a mailbox."""
    return [
        agent.name
        for agent in agents.by_name.values()
        if any(agents.connector(agent.name, profile).has_mailboxes for profile in agent.profiles)
    ]


def read_mailboxes(agents: Agents, agent: str) -> int:
    """Read the mailbox of each profile of an agent, unless another process is reading it.

    Returns how many e-mails were stored.
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
    stored = 0

    def store(mail: RawMail) -> None:
        nonlocal stored
        with transaction() as connection:
            unparsed.store(connection, agent, profile, mail)
        stored += 1

    try:
        agents.connector(agent, profile).read_mailboxes(store)
    except SendError as error:
        level = logging.ERROR if isinstance(error, Misconfigured) else logging.WARNING
        log.log(level, "agent %s: cannot read the mailbox of %s: %s", agent, profile, error)
    return stored
