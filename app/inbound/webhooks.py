"""Verify webhooks of providers and store what they contain."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from app.agents import Agents
from app.inbound import messages
from app.outbox import receipts
from connectors.base import (
    Inbound,
    Receipt,
    Received,
    UnverifiedWebhook,
    WebhookError,
    WebhookRequest,
)


class NoWebhookError(LookupError):
    """The agent does not exist, or has no secret to verify such webhooks with."""


@dataclass(frozen=True, slots=True)
class Stored:
    """How many receipts and messages were new."""

    receipts: int
    messages: int


def verify(agents: Agents, agent: str, request: WebhookRequest) -> tuple[str, Received]:
    """Return the profile whose secret a webhook of `agent` is signed with, and its content.

    Raises:
        NoWebhookError: no profile of the agent accepts webhooks of this kind.
        WebhookError: no profile accepts this one. If the signature of one matches but its content
            is malformed, the error says that.
    """
    configured = agents.by_name.get(agent)
    errors: list[WebhookError] = []
    for profile in configured.profiles if configured else ():
        connector = agents.connector(agent, profile)
        if request.kind not in connector.webhooks:
            continue
        try:
            return profile, connector.receive(request)
        except WebhookError as error:
            errors.append(error)
    if not errors:
        raise NoWebhookError(f"agent {agent} accepts no {request.kind} webhooks")
    raise min(errors, key=lambda error: isinstance(error, UnverifiedWebhook))


def store(
    connection: Connection,
    agents: Agents,
    agent: str,
    profile: str,
    items: Sequence[Receipt | Inbound],
) -> Stored:
    """Store receipts and messages in the transaction of `connection`. Repeats change nothing."""
    new_receipts = store_receipts(
        connection, agents, agent, [item for item in items if isinstance(item, Receipt)]
    )
    new_messages = sum(
        messages.store(connection, agent, item, profile).is_new
        for item in items
        if isinstance(item, Inbound)
    )
    return Stored(new_receipts, new_messages)


def store_receipts(
    connection: Connection, agents: Agents, agent: str, items: Sequence[Receipt]
) -> int:
    """Store receipts of an agent's provider and return how many were new."""
    if not items:
        return 0
    return receipts.store(connection, agent, items, min(agents.by_name[agent].channels))
