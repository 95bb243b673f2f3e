import re
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from sandbox.behaviour import MAGIC_MAILBOXES, MAGIC_NUMBERS
from sandbox.client import RunningSandbox

Post = Callable[..., requests.Response]

DROPPED = "connection closed"


def outcome_of(call: Callable[[], requests.Response]) -> int | str:
    """The status answered, or that the connection was closed without an answer."""
    try:
        return call().status_code
    except requests.ConnectionError:
        return DROPPED


def raw_connection(sandbox: RunningSandbox) -> socket.socket:
    address = urlsplit(sandbox.http_url)
    return socket.create_connection((address.hostname, address.port), timeout=30)


def gateway_request(to: str, extra: str = "") -> bytes:
    body = f'{{"to": "{to}", "content": "Hello"}}'
    return (
        "POST /gateway HTTP/1.1\r\nHost: sandbox\r\nContent-Type: application/json\r\n"
        f"{extra}Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def test_the_gateway_accepts_and_shows_what_it_got(sandbox: RunningSandbox, post: Post) -> None:
    response = post("+12025550123", "Grüße 🙂", key="k-1")

    assert response.status_code == 202
    answer = response.json()
    assert answer["message"] == "Accepted"
    [record] = sandbox.received(kind="gateway")
    assert record["message_id"] == answer["messageId"]
    assert (record["to"], record["content"]) == ("+12025550123", "Grüße 🙂")
    assert (record["key"], record["copy"], record["outcome"]) == ("k-1", 1, "accepted")
    assert record["received_at"].endswith("+00:00")


@pytest.mark.parametrize(
    ("arguments", "status", "error"),
    [
        ({"data": "to=1", "headers": {"Content-Type": "text/plain"}}, 415, "application/json"),
        ({"data": "{", "headers": {"Content-Type": "application/json"}}, 400, "no JSON"),
        ({"data": "[" * 9999, "headers": {"Content-Type": "application/json"}}, 400, "no JSON"),
        ({"json": ["to"]}, 400, "object"),
        ({"json": {"content": "Hello"}}, 400, "to:"),
        ({"json": {"to": "", "content": "Hello"}}, 400, "to:"),
        ({"json": {"to": 12025550123, "content": "Hello"}}, 400, "to:"),
        ({"json": {"to": "+12025550123"}}, 400, "content:"),
    ],
)
def test_the_gateway_refuses_what_is_no_message(
    sandbox: RunningSandbox, arguments: dict[str, Any], status: int, error: str
) -> None:
    response = sandbox.session.post(sandbox.gateway_url, timeout=30, **arguments)

    assert response.status_code == status
    assert error in response.json()["error"]
    assert sandbox.received(outcome="*") == []


def test_any_api_call_is_echoed_and_kept(sandbox: RunningSandbox) -> None:
    response = sandbox.session.patch(
        f"{sandbox.api_url}/orders/7?full=1",
        data="état",
        headers={"Authorization": "Bearer hush", "Idempotency-Key": "k-1"},
        timeout=30,
    )

    assert response.status_code == 200
    echo = response.json()
    assert (echo["method"], echo["path"]) == ("PATCH", "/api/orders/7")
    [record] = sandbox.received(to="orders/7")
    assert (record["id"], record["query"], record["content"]) == (echo["id"], "full=1", "état")
    assert record["headers"]["authorization"] == "present"
    assert "hush" not in str(record)


def test_a_head_request_gets_no_body_and_the_connection_goes_on(sandbox: RunningSandbox) -> None:
    assert sandbox.session.head(f"{sandbox.api_url}/x", timeout=30).status_code == 200
    assert sandbox.session.get(f"{sandbox.api_url}/x", timeout=30).json()["method"] == "GET"


@pytest.mark.parametrize(
    ("to", "outcomes"),
    [
        ("+12025550400", [400, 400]),
        ("+12025550429", [429, 429]),
        ("+12025550500", [500, 500, 202, 202]),
        ("+12025550503", [503, 503, 503]),
        ("+12025550097", [DROPPED, 202]),
        ("+12025550123", [202, 202]),
    ],
)
def test_a_magic_number_misbehaves_for_each_message(
    sandbox: RunningSandbox, post: Post, to: str, outcomes: list[int | str]
) -> None:
    for key in "first", "second":
        assert [outcome_of(lambda: post(to, key=key)) for _ in outcomes] == outcomes  # noqa: B023 - called at once


def test_429_says_when_to_come_again(post: Post) -> None:
    assert post("+12025550429").headers["Retry-After"] == "2"


@pytest.mark.parametrize(
    ("do", "outcomes", "kept"),
    [
        ({"status": 503}, [503, 202], ["refused", "accepted"]),
        ({"drop": "before"}, [DROPPED, 202], ["accepted"]),
        ({"drop": "after"}, [DROPPED, 202], ["dropped", "accepted"]),
        ({"slow_seconds": 0.01}, [202, 202], ["accepted", "accepted"]),
    ],
)
def test_a_rule_holds_for_its_times(
    sandbox: RunningSandbox,
    post: Post,
    do: dict[str, Any],
    outcomes: list[int | str],
    kept: list[str],
) -> None:
    sandbox.control("+12025550123", do, times=1)

    assert [outcome_of(post), outcome_of(post)] == outcomes
    assert [record["outcome"] for record in sandbox.received(outcome="*")] == kept
    assert sandbox.session.get(f"{sandbox.http_url}/control", timeout=30).json() == []


def test_a_rule_shapes_the_refusal(sandbox: RunningSandbox, post: Post) -> None:
    sandbox.control("*", {"status": 429, "retry_after_seconds": 7, "body": {"code": "busy"}})

    response = post()

    assert (response.status_code, response.json()) == (429, {"code": "busy"})
    assert response.headers["Retry-After"] == "7"


@pytest.mark.parametrize(
    ("rules", "status"),
    [
        ([("*", "*", {"status": 501})], 501),
        ([("*", "smtp", {"status": 501})], 202),
        ([("*", "*", {"status": 501}), ("*", "gateway", {"status": 502})], 502),
        ([("+12025550123", "*", {"status": 501}), ("*", "gateway", {"status": 502})], 501),
        ([("+12025550123", "*", {}), ("*", "*", {"status": 501})], 202),
        ([("*", "*", {"status": 501}), ("*", "*", {"status": 502})], 502),
    ],
)
def test_the_rule_that_says_most_wins(
    sandbox: RunningSandbox, post: Post, rules: list[tuple[str, str, dict[str, Any]]], status: int
) -> None:
    for to, kind, do in rules:
        sandbox.control(to, do, kind=kind)

    assert post("+12025550123").status_code == status


def test_a_rule_wins_over_a_magic_recipient(sandbox: RunningSandbox, post: Post) -> None:
    sandbox.control("+12025550503", {})

    assert post("+12025550503").status_code == 202


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        ({"do": {"status": 500}}, "to:"),
        ({"to": "*", "kind": "pigeon", "do": {}}, "kind:"),
        ({"to": "*", "do": {"status": 200}}, "do.status:"),
        ({"to": "*", "do": {"status": 500, "hang": True}}, "choose one"),
        ({"to": "*", "do": {"retry_after_seconds": 1}}, "needs status"),
        ({"to": "*", "do": {"explode": True}}, "do.explode:"),
        ({"to": "*", "do": {}, "times": 0}, "times:"),
    ],
)
def test_a_bad_rule_is_refused_by_name(
    sandbox: RunningSandbox, rule: dict[str, Any], error: str
) -> None:
    response = sandbox.session.put(f"{sandbox.http_url}/control", json=rule, timeout=30)

    assert response.status_code == 400
    assert error in response.json()["error"]


def test_a_hanging_request_is_recorded_and_never_answered(sandbox: RunningSandbox) -> None:
    with raw_connection(sandbox) as client:
        client.sendall(gateway_request("+12025550099"))
        while not sandbox.received(outcome="hung"):
            pass
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(1)
    assert sandbox.count()["total"] == 0


def test_a_slow_request_is_taken_before_it_is_answered(sandbox: RunningSandbox) -> None:
    sandbox.control("*", {"slow_seconds": 3600})
    with raw_connection(sandbox) as client:
        client.sendall(gateway_request("+12025550123"))
        while not sandbox.received():
            pass
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(1)


def test_requests_sent_ahead_are_answered_in_order(sandbox: RunningSandbox) -> None:
    sandbox.control("+12025550001", {"slow_seconds": 0.01})
    with raw_connection(sandbox) as client:
        client.sendall(
            gateway_request("+12025550001")
            + gateway_request("+12025550400")
            + gateway_request("+12025550002", "Connection: close\r\n")
        )
        answers = client.makefile("rb").read().decode()

    assert re.findall(r"HTTP/1\.1 (\d+)", answers) == ["202", "400", "202"]


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"HELLO\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\n\r\n", 400),
        (b"POST /gateway HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /gateway HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
        (b"POST /gateway HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"GET /" + b"x" * 65536, 431),
    ],
)
def test_what_cannot_be_read_is_answered_and_closed(
    sandbox: RunningSandbox, raw: bytes, status: int
) -> None:
    with raw_connection(sandbox) as client:
        client.sendall(raw)
        assert client.makefile("rb").read().startswith(f"HTTP/1.1 {status} ".encode())


def test_a_request_in_pieces_is_put_together(sandbox: RunningSandbox) -> None:
    with raw_connection(sandbox) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in gateway_request("+12025550123", "Connection: close\r\n"):
            client.sendall(bytes([byte]))
        assert client.makefile("rb").read().startswith(b"HTTP/1.1 202 ")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/elsewhere", 404),
        ("POST", "/received", 405),
        ("GET", "/gateway", 405),
        ("GET", "/gateways", 404),
        ("GET", "/received?limit=0", 400),
        ("GET", "/received?before=3", 400),
    ],
)
def test_what_is_not_there_is_said(
    sandbox: RunningSandbox, method: str, path: str, status: int
) -> None:
    response = sandbox.session.request(method, sandbox.http_url + path, timeout=30)

    assert response.status_code == status
    assert response.json()["error"]


def test_received_is_filtered_and_paged(sandbox: RunningSandbox, post: Post) -> None:
    for number in "+12025550001", "+12025550002", "+12025550001":
        post(number)

    assert len(sandbox.received(to="+12025550001")) == 2
    assert sandbox.received(kind="smtp") == []
    first, second, third = (record["seq"] for record in sandbox.received())
    page = sandbox.session.get(
        f"{sandbox.http_url}/received?after={first}&limit=1", timeout=30
    ).json()
    assert [record["seq"] for record in page] == [second]
    assert first < second < third


def test_copies_are_counted_by_key(sandbox: RunningSandbox, post: Post) -> None:
    for key in "a", "b", "a", None, None:
        post(key=key)

    count = sandbox.count()
    assert (count["total"], count["distinct"], count["by_kind"]) == (5, 4, {"gateway": 5})
    assert [record["copy"] for record in sandbox.received()] == [1, 1, 2, 1, 1]


def test_clear_forgets_everything(sandbox: RunningSandbox, post: Post) -> None:
    sandbox.control("*", {"status": 500}, kind="api")
    post(key="a")

    sandbox.clear()

    assert sandbox.received(outcome="*") == []
    assert sandbox.count()["total"] == 0
    assert post(key="a").status_code == 202
    assert sandbox.count()["distinct"] == 1


def test_the_page_shows_messages_harmlessly(sandbox: RunningSandbox, post: Post) -> None:
    post("<b>", "<script>alert(1)</script>")

    html = sandbox.session.get(sandbox.http_url, timeout=30).text

    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "<script" not in html
    for magic in (*MAGIC_NUMBERS, *MAGIC_MAILBOXES):
        assert magic in html
