"""Send one message through its connector and decide what the outcome means."""

import logging

from app.agents import Agents
from app.attachments.resolve import resolve
from app.outbox import outcome as outcomes
from app.outbox.outcome import Outcome
from app.outbox.start import Started
from connectors import base

log = logging.getLogger(__name__)


def send(agents: Agents, started: Started) -> Outcome:
    """Resolve the attachments of a started message, send it, and return the outcome."""
    agent = agents.by_name[started.claim.agent]
    try:
        connector = agents.connector(agent.name, started.profile)
    except KeyError:
        error = base.Rejected("profile", f"agent {agent.name} has no profile {started.profile}")
        return outcomes.failed(error, agent, started.attempt)
    try:
        message = resolve(started.message, connector.attachment_sources)
    except base.SendError as error:
        return outcomes.failed(error, agent, started.attempt)
    except Exception:
        log.exception("attachments failed", extra={"message_id": started.message.id})
        unsent = base.Unavailable("defect", "attachments failed; see the worker's log")
        return outcomes.failed(unsent, agent, started.attempt)
    try:
        accepted = connector.send(message)
    except base.SendError as error:
        return outcomes.failed(error, agent, started.attempt)
    except Exception:
        log.exception("connector failed", extra={"message_id": started.message.id})
        defect = base.Uncertain("defect", "connector failed; see the worker's log")
        return outcomes.failed(defect, agent, started.attempt)
    return outcomes.accepted(accepted, can_poll=connector.can_poll)
