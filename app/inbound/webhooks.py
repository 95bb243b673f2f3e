"""Takes what providers bring by webhook: has it verified, and keeps it."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from app.agents import Agents
from app.inbound import messages as inbox
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
    """There is no such agent, or it has no secret to verify such a call with."""


@dataclass(frozen=True, slots=True)
class Kept:
    """How many of the items of a call were new."""

    receipts: int
    messages: int


def verify(agents: Agents, agent: str, request: WebhookRequest) -> tuple[str, Received]:
    """What a call to `agent` brings, and the profile whose secret it is signed with.

    Raises NoWebhookError, or the WebhookError of the profile that came closest to taking it.
    """
    configured = agents.by_name.get(agent)
    refusals: list[WebhookError] = []
    for profile in configured.profiles if configured else ():
        connector = agents.connector(agent, profile)
        if request.kind not in connector.webhooks:
            continue
        try:
            return profile, connector.receive(request)
        except WebhookError as refusal:
            refusals.append(refusal)
    if not refusals:
        raise NoWebhookError(f"agent {agent} takes no {request.kind} calls")
    raise min(refusals, key=lambda refusal: isinstance(refusal, UnverifiedWebhook))


def keep(
    connection: Connection,
    agents: Agents,
    agent: str,
    profile: str,
    items: Sequence[Receipt | Inbound],
) -> Kept:
    """Keep what a call brought, in the transaction of `connection`: repeats change nothing."""
    reports = [item for item in items if isinstance(item, Receipt)]
    letters = [item for item in items if isinstance(item, Inbound)]
    channel = min(agents.by_name[agent].channels)
    new_receipts = receipts.store(connection, agent, reports, channel) if reports else 0
    new_messages = sum(inbox.keep(connection, agent, one, profile).is_new for one in letters)
    return Kept(new_receipts, new_messages)
