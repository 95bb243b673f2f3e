import socket
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
import requests

DROPPED = "connection closed"


def outcome_of(post: Callable[..., requests.Response], *arguments: str, **options: str) -> object:
    """Return the status, or that the connection was closed without a response."""
    try:
        return post(*arguments, **options).status_code
    except requests.ConnectionError:
        return DROPPED


def test_magic_numbers_fail_for_each_message_anew(post):
    failures = []
    for to, outcomes in [
        ("+12025550400", [400, 400]),
        ("+12025550429", [429, 429]),
        ("+12025550500", [500, 500, 202, 202]),
        ("+12025550503", [503, 503, 503]),
        ("+12025550097", [DROPPED, 202]),
        ("+12025550123", [202, 202]),
    ]:
        for key in "first", "second":
            found = [outcome_of(post, to, key=key) for _ in outcomes]
            if found != outcomes:
                failures.append((to, key, found))

    assert not failures
    assert post("+12025550429").headers["Retry-After"] == "2"


def test_rule_applies_the_given_number_of_times(sandbox, post):
    failures = []
    for do, outcomes, recorded in [
        ({"status": 503}, [503, 202], ["refused", "accepted"]),
        ({"drop": "before"}, [DROPPED, 202], ["accepted"]),
        ({"drop": "after"}, [DROPPED, 202], ["dropped", "accepted"]),
        ({"slow_seconds": 0.01}, [202, 202], ["accepted", "accepted"]),
    ]:
        sandbox.clear()
        sandbox.control("+12025550123", do, times=1)
        found = [outcome_of(post), outcome_of(post)]
        records = [record["outcome"] for record in sandbox.received(outcome="*")]
        if (found, records) != (outcomes, recorded):
            failures.append((do, found, records))

    assert not failures
    assert sandbox.session.get(f"{sandbox.http_url}/control", timeout=30).json() == []


def test_rule_sets_body_and_retry_after_of_a_refusal(sandbox, post):
    sandbox.control("*", {"status": 429, "retry_after_seconds": 7, "body": {"code": "busy"}})

    response = post()

    assert (response.status_code, response.json()) == (429, {"code": "busy"})
    assert response.headers["Retry-After"] == "7"


def test_most_specific_rule_applies(sandbox, post):
    number = "+12025550123"
    failures = []
    for rules, status in [
        ([("*", "*", {"status": 501})], 501),
        ([("*", "smtp", {"status": 501})], 202),
        ([("*", "*", {"status": 501}), ("*", "gateway", {"status": 502})], 502),
        ([(number, "*", {"status": 501}), ("*", "gateway", {"status": 502})], 501),
        ([(number, "*", {}), ("*", "*", {"status": 501})], 202),
        ([("*", "*", {"status": 501}), ("*", "*", {"status": 502})], 502),
    ]:
        sandbox.clear()
        for to, kind, do in rules:
            sandbox.control(to, do, kind=kind)
        if (found := post(number).status_code) != status:
            failures.append((rules, found))

    assert not failures
    sandbox.control("+12025550503", {})
    assert post("+12025550503").status_code == 202  # the rule, not the magic number


def test_invalid_rules_are_rejected_by_field(sandbox):
    failures = []
    for rule, error in [
        ({"do": {"status": 500}}, "to:"),
        ({"to": "*", "kind": "pigeon", "do": {}}, "kind:"),
        ({"to": "*", "do": {"status": 200}}, "do.status:"),
        ({"to": "*", "do": {"status": 500, "hang": True}}, "hang, status cannot be combined"),
        ({"to": "*", "do": {"retry_after_seconds": 1}}, "only be used with status"),
        ({"to": "*", "do": {"explode": True}}, "do.explode:"),
        ({"to": "*", "do": {}, "times": 0}, "times:"),
    ]:
        response = sandbox.session.put(f"{sandbox.http_url}/control", json=rule, timeout=30)
        if response.status_code != 400 or error not in response.json()["error"]:
            failures.append((rule, response.status_code, response.text))

    assert not failures


@pytest.mark.parametrize(
    ("do", "outcome"), [({"hang": True}, "hung"), ({"slow_seconds": 3600}, "accepted")]
)
def test_hanging_or_slow_request_is_recorded_before_any_response(sandbox, do, outcome):
    sandbox.control("*", do)
    address = urlsplit(sandbox.http_url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as client:
        client.sendall(b"GET /api/orders HTTP/1.1\r\n\r\n")
        while not sandbox.received(outcome=outcome):
            pass
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(1)

    assert sandbox.count()["total"] == (0 if outcome == "hung" else 1)
