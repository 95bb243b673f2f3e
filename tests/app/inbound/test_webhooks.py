"""Verifying webhooks by the secrets of an agent's profiles, and storing what they contain."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection

from app.agents import Agents, agents
from app.inbound import webhooks
from app.inbound.webhooks import MAX_PARSED_BYTES, NoWebhookError, Stored, Verified
from connectors.base import (
    Accepted,
    Connector,
    ConnectorSettings,
    Inbound,
    MalformedWebhook,
    OutboundMessage,
    Receipt,
    UnsignedWebhook,
    UnverifiedWebhook,
    WebhookKind,
    WebhookRequest,
    WebhookResponse,
    registry,
)

FILE = """
[agents.shop]
connector = "signed"
profiles = { first = { settings = { secret = "1" } }, second = { settings = { secret = "2" } } }

[agents.silent]
connector = "signed"
"""
MESSAGE = Inbound(key="k-1", channel="sms", sender="+4915112345678", recipient="+15005550006")
RECEIPT = Receipt(key="r-1", kind="delivered", provider_message_id="p-1")


class Signed(Connector[ConnectorSettings]):
    """A connector whose webhooks carry the secret as their signature."""

    class Settings(ConnectorSettings):
        secret: str | None = None

    channels = frozenset({"sms"})

    @property
    def send_timeout(self) -> timedelta:
        return timedelta(seconds=20)

    def send(self, message: OutboundMessage) -> Accepted:
        raise NotImplementedError

    @property
    def webhooks(self) -> frozenset[WebhookKind]:
        return frozenset({"inbound"} if self.settings.secret else ())

    def verify(self, request: WebhookRequest) -> WebhookResponse:
        if "signature" not in request.headers:
            raise UnsignedWebhook("no signature")
        if request.headers["signature"] != self.settings.secret:
            raise UnverifiedWebhook("another signature")
        return WebhookResponse()

    def parse(self, request: WebhookRequest) -> Sequence[Receipt | Inbound]:
        if request.body:
            raise MalformedWebhook("a body")
        return [MESSAGE]


@pytest.fixture
def loaded(agents_file: Path, monkeypatch: pytest.MonkeyPatch, environment: None) -> Agents:
    agents_file.write_text(FILE)
    monkeypatch.setattr(registry, "load", {"signed": Signed}.__getitem__)
    return agents()


def webhook(
    signature: str | None, body: bytes = b"", kind: WebhookKind = "inbound"
) -> WebhookRequest:
    headers = {"signature": signature} if signature else {}
    url = "https://post.example.com/api/webhooks/shop/inbound"
    return WebhookRequest(kind, "POST", url, headers, body, datetime.now(UTC))


def test_profile_whose_secret_signed_a_webhook_is_returned(loaded: Agents) -> None:
    for signature, profile in (("1", "first"), ("2", "second")):
        verified = webhooks.verify(loaded, "shop", webhook(signature))
        assert verified == Verified(profile, WebhookResponse(), [MESSAGE])


def test_large_webhooks_and_those_with_mail_are_not_parsed_at_once(
    loaded: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    unparsed = Verified("first", WebhookResponse(), None)
    assert webhooks.verify(loaded, "shop", webhook("1", bytes(MAX_PARSED_BYTES + 1))) == unparsed
    with pytest.raises(MalformedWebhook):
        webhooks.verify(loaded, "shop", webhook("1", bytes(MAX_PARSED_BYTES)))
    with pytest.raises(UnverifiedWebhook):
        webhooks.verify(loaded, "shop", webhook("3", bytes(MAX_PARSED_BYTES + 1)))
    monkeypatch.setattr(Signed, "mail_webhooks", frozenset({"inbound"}))
    assert webhooks.verify(loaded, "shop", webhook("1")) == unparsed


def test_most_specific_error_of_all_profiles_is_raised(loaded: Agents) -> None:
    with pytest.raises(MalformedWebhook):
        webhooks.verify(loaded, "shop", webhook("2", b"?"))
    with pytest.raises(UnverifiedWebhook):
        webhooks.verify(loaded, "shop", webhook("3"))
    with pytest.raises(UnsignedWebhook):
        webhooks.verify(loaded, "shop", webhook(None))


def test_agent_without_a_secret_or_an_unknown_one_accepts_no_webhooks(loaded: Agents) -> None:
    status: WebhookKind = "status"
    for agent, request in (
        ("silent", webhook("1")),
        ("unknown", webhook("1")),
        ("shop", webhook("1", kind=status)),
    ):
        with pytest.raises(NoWebhookError, match=f"agent {agent} accepts no {request.kind}"):
            webhooks.verify(loaded, agent, request)


def test_repeated_webhook_is_stored_once(connection: Connection, loaded: Agents) -> None:
    stored = [
        webhooks.store(connection, loaded, "shop", "first", [RECEIPT, MESSAGE]) for _ in range(2)
    ]
    assert stored == [Stored(receipts=1, messages=1), Stored(receipts=0, messages=0)]
    assert webhooks.store(connection, loaded, "shop", "first", []) == Stored(0, 0)
