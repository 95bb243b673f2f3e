"""The life of a message with each provider: delivery, and every class of failure."""

from collections.abc import Callable
from itertools import count
from typing import Any

from tests.postroom import until
from tests.scenarios.caller import Caller
from tests.scenarios.providers import ORDER, PROVIDERS, Provider

numbers = count(1)


def with_each_provider(
    submit: Callable[[Provider], Any], check: Callable[[Provider, Any], None]
) -> None:
    """Submit to all providers first, so that they work at the same time; then check each."""
    submitted = [(provider, submit(provider)) for provider in PROVIDERS]
    failures = []
    for provider, result in submitted:
        try:
            check(provider, result)
        except AssertionError as error:
            failures.append(f"{provider.agent}: {error}")
    assert not failures, "\n".join(failures)


def provider_of(agent: str) -> Provider:
    return next(provider for provider in PROVIDERS if provider.agent == agent)


def records(caller: Caller, provider: Provider, to: str, outcome: str = "*") -> list[Any]:
    """Return what the provider received for this recipient, except for order queries."""
    received = caller.sandbox.received(kind=provider.kind, to=to, outcome=outcome)
    return [one for one in received if one.get("method") != "getOrderStatusExtended.do"]


def outcomes(message: Any) -> list[str]:
    return [attempt["outcome"] for attempt in message["attempt_log"]]


def test_message_is_delivered(caller: Caller) -> None:
    def submit(provider: Provider) -> Any:
        message = provider.message(next(numbers))
        return message["to"], caller.submit(**message)

    def check(provider: Provider, submitted: Any) -> None:
        to, number = submitted
        message = caller.await_status(number, provider.arrives)
        assert outcomes(message) == ["accepted"]
        statuses = [event["to_status"] for event in message["events"]]
        assert statuses[:4] == ["outbox", "queued", "sending", "sent"]
        assert [one["outcome"] for one in records(caller, provider, to)] == ["accepted"]

    with_each_provider(submit, check)


def test_rejected_message_fails_at_once_and_dead_addresses_are_suppressed(caller: Caller) -> None:
    def submit(provider: Provider) -> Any:
        refused, number = provider.refused, next(numbers)
        message = {**provider.message(number), **refused.fields}
        if refused.to:
            message["to"] = refused.to.format(number)
        if refused.do:
            caller.sandbox.control(message["to"], refused.do, kind=provider.kind, times=1)
        return message, caller.submit(**message)

    def check(provider: Provider, submitted: Any) -> None:
        message, number = submitted
        failed = caller.await_status(number, "failed")
        assert (failed["error_code"], outcomes(failed)) == (provider.refused.code, ["rejected"])
        assert caller.suppression(message["to"]) == provider.refused.suppresses
        if provider.refused.suppresses:
            problem = caller.call("POST", "/api/messages", 422, json=message)
            assert [error["field"] for error in problem["errors"]] == ["to"]

    with_each_provider(submit, check)


def test_misconfigured_agent_is_paused_and_its_messages_wait(caller: Caller) -> None:
    def submit(provider: Provider) -> Any:
        message = provider.message(next(numbers))
        caller.sandbox.control(
            message["to"],
            provider.misconfigured,
            kind=provider.kind,
            times=provider.misconfigured_times,
        )
        return message["to"], caller.submit(**message)

    def check(provider: Provider, submitted: Any) -> None:
        to, first = submitted
        until(lambda: caller.paused(provider.agent) is not None, "the agent is paused")
        second = caller.submit(**provider.message(next(numbers)))
        message = caller.await_status(first, "outbox")
        assert (outcomes(message), message["attempts"]) == (["misconfigured"], 0)
        assert message["attempt_log"][0]["code"] in str(caller.paused(provider.agent))

        caller.call("POST", f"/api/agents/{provider.agent}/resume")
        for number in first, second:
            caller.await_status(number, provider.arrives)
        assert caller.paused(provider.agent) is None
        assert len(records(caller, provider, to, "accepted")) == 1

    with_each_provider(submit, check)


def test_message_is_retried_while_the_provider_is_unavailable(caller: Caller) -> None:
    def submit(provider: Provider) -> Any:
        message = provider.message(next(numbers))
        caller.sandbox.control(message["to"], provider.unavailable, kind=provider.kind, times=2)
        return message["to"], caller.submit(**message)

    def check(provider: Provider, submitted: Any) -> None:
        to, number = submitted
        message = caller.await_status(number, provider.arrives)
        assert outcomes(message) == ["unavailable", "unavailable", "accepted"]
        assert len(records(caller, provider, to, "accepted")) == 1

    with_each_provider(submit, check)


def test_message_without_a_response_is_sent_again_or_held_as_its_agent_demands(
    caller: Caller,
) -> None:
    def submit(provider: Provider) -> Any:
        message = provider.message(next(numbers))
        caller.sandbox.control(message["to"], {"drop": "after"}, kind=provider.kind, times=1)
        return message["to"], caller.submit(**message)

    def check(provider: Provider, submitted: Any) -> None:
        to, number = submitted
        status, copies = provider.after_drop
        message = caller.await_status(number, status)
        first = "unavailable" if provider.kind == "sba" else "uncertain"
        assert outcomes(message)[0] == first
        received = records(caller, provider, to)
        assert len(received) == copies
        assert len({one["key"] for one in received}) == 1, "each attempt has the same key, if any"

    with_each_provider(submit, check)


def test_refund_without_a_response_is_not_repeated(caller: Caller) -> None:
    bank = provider_of("sba")
    order = bank.message(next(numbers))
    caller.await_status(caller.submit(**order), "sent")
    caller.simulate("POST", "/sba/_pay", order=order["to"])
    caller.sandbox.control(order["to"], {"drop": "after"}, kind="sba")
    # The rule would drop a query for the order too, so the refund names its id.
    [registered] = records(caller, bank, order["to"])
    refund = {"operation": "refund", "amount": 500, "orderId": registered["order_id"]}
    message = caller.await_status(caller.submit(**{**order, "payload": refund}), "unknown")
    assert outcomes(message) == ["uncertain"]
    caller.sandbox.control(order["to"], {}, kind="sba")
    methods = [one["method"] for one in records(caller, bank, order["to"])]
    assert methods == ["register.do", "refund.do"]


def test_provider_without_webhooks_is_polled(caller: Caller) -> None:
    cases = [
        ("m2m", "+79162345678", "delivered"),
        ("m2m", "+79990000301", "bounced"),
        ("marketolog", "+79172345678", "delivered"),
    ]
    submitted = [
        (caller.submit(channel="sms", agent=agent, to=to, body="hello"), status)
        for agent, to, status in cases
    ]

    for number, status in submitted:

        def is_settled(number: int = number, status: str = status) -> bool:
            caller.poll()
            return bool(caller.message(number)["status"] == status)

        until(is_settled, f"the message is {status}", explain=lambda: str(submitted))
        assert outcomes(caller.message(number)) == ["accepted"]
        assert caller.postroom.query("SELECT FROM polls WHERE message_id = %s", number) == []


def test_payment_is_reported_by_callback_or_by_poll(caller: Caller) -> None:
    cases = [
        (agent, outcome, status)
        for agent in ("sba", "bank")
        for outcome, status in (("paid", "delivered"), ("declined", "failed"))
    ]
    submitted = [
        caller.submit(channel="payment", agent=agent, to=f"{agent}-{outcome}", **ORDER)
        for agent, outcome, _ in cases
    ]
    for number, (agent, outcome, status) in zip(submitted, cases, strict=True):
        [reply] = caller.await_status(number, "sent")["replies"]
        caller.simulate("POST", "/sba/_pay", order=f"{agent}-{outcome}", outcome=outcome)
        # After a declined card the customer may try another, so only a poll settles the message.
        must_poll = agent == "sba" or outcome == "declined"

        def is_settled(
            number: int = number, status: str = status, must_poll: bool = must_poll
        ) -> bool:
            if must_poll:
                caller.poll()
            return bool(caller.message(number)["status"] == status)

        until(is_settled, f"the payment {agent}-{outcome} is {status}")
        assert "formUrl" in caller.message(reply["id"])["body"]


def test_revoked_token_is_replaced_within_the_same_attempt(caller: Caller) -> None:
    for agent, path in ("oauth", "/oauth-api/token"), ("fcm", "/fcm/token"):
        provider = provider_of(agent)
        caller.await_status(caller.submit(**provider.message(next(numbers))), "sent")
        caller.simulate("DELETE", path)
        number = caller.submit(**provider.message(next(numbers)))
        assert outcomes(caller.await_status(number, "sent")) == ["accepted"]
