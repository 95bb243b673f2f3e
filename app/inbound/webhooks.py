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
    UnverifiedWebhook,
    WebhookError,
    WebhookRequest,
    WebhookResponse,
)

MAX_PARSED_BYTES = 64 * 1024
"""Larger webhooks, and those with e-mail, are stored unparsed."""


class NoWebhookError(LookupError):
    """The agent does not exist, or has no secret to verify such webhooks with."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A verified webhook.

    Attributes:
        profile: The profile whose secret it is signed with.
        response: The response, once it is stored.
        items: Its contents, or None if it is to be stored unparsed.
    """

    profile: str
    response: WebhookResponse
    items: Sequence[Receipt | Inbound] | None


@dataclass(frozen=True, slots=True)
class Stored:
    """How many receipts and messages were new."""

    receipts: int
    messages: int


def verify(agents: Agents, agent: str, request: WebhookRequest) -> Verified:
    """Verify a webhook of `agent`, and parse it if that is quick.

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
            if request.kind in connector.mail_webhooks or len(request.body) > MAX_PARSED_BYTES:
                return Verified(profile, connector.verify(request), None)
            received = connector.receive(request)
        except WebhookError as error:
            errors.append(error)
        else:
            return Verified(profile, received.response, received.items)
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
