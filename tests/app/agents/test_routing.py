"""Which agent a message takes."""

import re
from collections import Counter

import pytest

from app.agents import Agents, UnroutableError, choose_agent
from tests.app.agents.conftest import Load
from tests.app.agents.files import GATEWAY, SECOND, SMTP

ROUTES = """
[[routes]]
channel = "mms"
agent = "second"

[[routes]]
recipient_prefix = "+49"
agent = "gateway"

[[routes]]
sender_domain = "Shop.Example.com"
agent = "smtp"

[[routes]]
recipient_prefix = "+1"
sender_domain = "example.org"
agent = "smtp"

[[routes]]
agent = "second"
"""
AMERICAN = "+12025550143"


def choose(agents: Agents, **message: str) -> str:
    usual: dict[str, str | None] = {"sender": None, "requested": None}
    recipient = "ann@example.com" if message.get("channel") == "email" else "+4915112345678"
    fields = {**usual, "channel": "sms", "recipient": recipient, "profile": "default", **message}
    return choose_agent(agents, **fields).name  # type: ignore[arg-type]


def test_message_takes_the_requested_agent_else_the_first_matching_route(load: Load) -> None:
    agents = load(GATEWAY + SECOND + SMTP + ROUTES)
    rows: list[tuple[dict[str, str], str]] = [
        ({}, "gateway"),
        ({"recipient": AMERICAN}, "second"),
        ({"channel": "mms"}, "second"),
        ({"requested": "second"}, "second"),
        ({"channel": "mms", "requested": "gateway"}, "gateway"),
        ({"channel": "email"}, "smtp"),
        ({"channel": "email", "sender": "S <s@SHOP.example.com>"}, "smtp"),
        # The route of that domain leads to an agent that does not serve SMS.
        ({"recipient": AMERICAN, "sender": "s@shop.example.com"}, "second"),
    ]
    found = [(message, choose(agents, **message)) for message, _ in rows]
    assert found == rows


def test_domain_of_a_route_is_compared_without_case(load: Load) -> None:
    text = SMTP + SMTP.replace("agents.smtp", "agents.shop")
    text += "[[routes]]\nsender_domain = 'Shop.Example.com'\nagent = 'shop'\n"
    text += "[[routes]]\nagent = 'smtp'\n"
    agents = load(text)
    assert choose(agents, channel="email", sender="S <s@SHOP.example.COM>") == "shop"
    assert choose(agents, channel="email", sender="s@example.com") == "smtp"
    assert choose(agents, channel="email") == "smtp"


def test_only_agent_of_a_channel_needs_no_route(load: Load) -> None:
    agents = load(GATEWAY + SMTP)
    assert choose(agents) == "gateway"
    assert choose(agents, channel="email") == "smtp"


def test_unroutable_message_names_the_field_to_change(load: Load) -> None:
    agents = load(GATEWAY + SECOND + SMTP)
    rows: list[tuple[dict[str, str], str, str]] = [
        ({}, "agent", r"several agents serve sms\. Name one \(gateway, second\) or add a route\."),
        ({"channel": "payment"}, "channel", "no agent serves payment"),
        ({"requested": "pigeon"}, "agent", "no such agent.*gateway, second, smtp"),
        ({"requested": "smtp"}, "agent", "does not serve sms.*email"),
        ({"channel": "email", "profile": "x"}, "profile", "agent smtp has no.*default"),
    ]
    failures = []
    for message, field, reason in rows:
        with pytest.raises(UnroutableError) as raised:
            choose(agents, **message)
        if raised.value.field != field or not re.search(reason, str(raised.value)):
            failures.append((message, raised.value.field, str(raised.value)))
    assert not failures


def test_route_to_several_agents_spreads_by_weight(load: Load) -> None:
    text = GATEWAY + SECOND + SMTP
    agents = load(text + "[[routes]]\nagent = { gateway = 9, second = 1, smtp = 1000 }")
    chosen = Counter(choose(agents) for _ in range(2000))
    assert set(chosen) == {"gateway", "second"}, "smtp does not serve SMS"
    # Binomial with n = 2000, p = 0.1: six standard deviations to either side.
    assert 119 < chosen["second"] < 281
