"""A message's whole way to each provider, and each class of failure to its right end."""

from itertools import count
from typing import Any

import pytest

from tests.postroom import until
from tests.scenarios import providers
from tests.scenarios.caller import Caller
from tests.scenarios.providers import PROVIDERS, Provider

AGENTS = providers.AGENTS
numbers = count(1)


@pytest.fixture(params=PROVIDERS, ids=lambda provider: provider.agent)
def provider(request: pytest.FixtureRequest) -> Provider:
    return request.param


@pytest.fixture(scope="module", autouse=True)
def event_webhook(caller: Caller) -> None:
    """SendGrid takes the address to report to for the account, not with each message."""
    url = f"{caller.postroom.url}/api/webhooks/sendgrid/status"
    caller.play("PUT", "/sendgrid/_webhook", url=url, inbound_url="")


def heard(caller: Caller, provider: Provider, to: str, outcome: str = "*") -> list[Any]:
    """What the provider got for this recipient, refusals included."""
    received = caller.sandbox.received(kind=provider.kind, to=to, outcome=outcome)
    # Of an order it is also asked for the status.
    return [one for one in received if one.get("method") != "getOrderStatusExtended.do"]


def outcomes(story: Any) -> list[str]:
    return [attempt["outcome"] for attempt in story["attempts"]]


def test_a_message_arrives(caller: Caller, provider: Provider) -> None:
    message = provider.message(next(numbers))
    story = caller.await_status(caller.submit(**message), provider.arrives)
    assert outcomes(story) == ["accepted"]
    path = [event["to_status"] for event in story["events"]]
    assert path[:4] == ["outbox", "queued", "sending", "sent"]
    [got] = heard(caller, provider, message["to"])
    assert got["outcome"] == "accepted"


def test_what_is_refused_for_good_fails_at_once(caller: Caller, provider: Provider) -> None:
    refused = provider.refused
    number = next(numbers)
    message = {**provider.message(number), **refused.fields}
    if refused.to:
        message["to"] = refused.to.format(number)
    if refused.do:
        caller.sandbox.control(message["to"], refused.do, kind=provider.kind, times=1)
    story = caller.await_status(caller.submit(**message), "failed")
    assert (story["error_code"], outcomes(story)) == (refused.code, ["rejected"])
    assert caller.suppression(message["to"]) == refused.suppresses
    if refused.suppresses:
        problem = caller.call("POST", "/api/messages", 422, json=message)
        assert [error["field"] for error in problem["errors"]] == ["to"]


def test_a_wrong_set_up_pauses_the_agent_and_its_messages_wait(
    caller: Caller, provider: Provider
) -> None:
    first, second = provider.message(next(numbers)), provider.message(next(numbers))
    caller.sandbox.control(
        first["to"],
        provider.misconfigured,
        kind=provider.kind,
        times=provider.misconfigured_times,
    )
    waiting = [caller.submit(**first)]
    until(lambda: caller.paused(provider.agent) is not None, "the agent is paused")
    waiting.append(caller.submit(**second))
    story = caller.await_status(waiting[0], "outbox")
    assert (outcomes(story), story["tries"]) == (["misconfigured"], 0)
    assert story["attempts"][0]["code"] in caller.paused(provider.agent)

    caller.call("POST", f"/api/agents/{provider.agent}/resume")
    for number in waiting:
        caller.await_status(number, provider.arrives)
    assert caller.paused(provider.agent) is None
    assert len(heard(caller, provider, first["to"], "accepted")) == 1


def test_what_is_not_taken_this_time_is_tried_again(caller: Caller, provider: Provider) -> None:
    message = provider.message(next(numbers))
    caller.sandbox.control(message["to"], provider.unavailable, kind=provider.kind, times=2)
    story = caller.await_status(caller.submit(**message), provider.arrives)
    assert outcomes(story) == ["unavailable", "unavailable", "accepted"]
    assert len(heard(caller, provider, message["to"], "accepted")) == 1


def test_what_was_taken_without_an_answer_ends_as_its_agent_says(
    caller: Caller, provider: Provider
) -> None:
    message = provider.message(next(numbers))
    status, times = provider.after_drop
    caller.sandbox.control(message["to"], {"drop": "after"}, kind=provider.kind, times=1)
    story = caller.await_status(caller.submit(**message), status)
    assert outcomes(story)[0] == ("unavailable" if provider.kind == "sba" else "uncertain")
    assert len(heard(caller, provider, message["to"])) == times
    keys = {one["key"] for one in heard(caller, provider, message["to"])}
    assert len(keys) == 1, "each try carries the same key, if any"


def test_money_that_may_have_moved_is_never_moved_again_by_itself(caller: Caller) -> None:
    [bank] = [one for one in PROVIDERS if one.agent == "sba"]
    order = bank.message(next(numbers))
    caller.await_status(caller.submit(**order), "sent")
    caller.play("POST", "/sba/_pay", order=order["to"])
    caller.sandbox.control(order["to"], {"drop": "after"}, kind="sba")
    # Asking for the order is not answered either, so that the refund names it.
    [registered] = heard(caller, bank, order["to"])
    refund = {"operation": "refund", "amount": 500, "orderId": registered["order_id"]}
    story = caller.await_status(caller.submit(**{**order, "payload": refund}), "unknown")
    assert outcomes(story) == ["uncertain"]
    caller.sandbox.control(order["to"], {}, kind="sba")
    methods = [one["method"] for one in heard(caller, bank, order["to"])]
    assert methods == ["register.do", "refund.do"]


@pytest.mark.parametrize(
    ("agent", "to", "status"),
    [
        ("m2m", "+79162345678", "delivered"),
        ("m2m", "+79990000301", "bounced"),
        ("marketolog", "+79172345678", "delivered"),
    ],
)
def test_a_provider_that_does_not_call_is_asked(
    caller: Caller, agent: str, to: str, status: str
) -> None:
    number = caller.submit(channel="sms", agent=agent, to=to, body="hello")
    story = caller.await_status(number, "sent", status)

    def settled() -> bool:
        caller.poll()
        return bool(caller.message(number)["status"] == status)

    until(settled, f"the message is {status}")
    story = caller.message(number)
    assert outcomes(story) == ["accepted"]
    assert caller.postroom.query("SELECT FROM polls WHERE message_id = %s", number) == []


@pytest.mark.parametrize("agent", ["sba", "bank"])
@pytest.mark.parametrize(("outcome", "status"), [("paid", "delivered"), ("declined", "failed")])
def test_a_payment_comes_back_by_question_or_by_callback(
    caller: Caller, agent: str, outcome: str, status: str
) -> None:
    order = f"{agent}-{outcome}"
    number = caller.submit(channel="payment", agent=agent, to=order, **providers.ORDER)
    sent = caller.await_status(number, "sent")
    [reply] = sent["replies"]
    caller.play("POST", "/sba/_pay", order=order, outcome=outcome)

    def settled() -> bool:
        if agent == "sba" or outcome == "declined":  # of a declined card another try may follow
            caller.poll()
        return bool(caller.message(number)["status"] == status)

    until(settled, f"the payment is {status}")
    assert "formUrl" in caller.message(reply["id"])["body"]


@pytest.mark.parametrize(("agent", "path"), [("oauth", "/oauth-api/token"), ("fcm", "/fcm/token")])
def test_a_token_that_was_taken_back_is_fetched_anew_within_the_same_try(
    caller: Caller, agent: str, path: str
) -> None:
    [provider] = [one for one in PROVIDERS if one.agent == agent]
    caller.await_status(caller.submit(**provider.message(next(numbers))), "sent")
    caller.play("DELETE", path)
    story = caller.await_status(caller.submit(**provider.message(next(numbers))), "sent")
    assert outcomes(story) == ["accepted"]
