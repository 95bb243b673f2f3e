import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from connectors.base import Uncertain
from tests.connectors.conftest import Provider

SECRET_PATH = "/bot-secret-token/+12015550123"


# --- what is sent and what comes back


def test_body_is_sent_as_bytes_json_or_form(client, provider) -> None:
    rows = [
        ({"body": b"\x00raw"}, None, b"\x00raw"),
        ({"json": {"to": "ё"}}, "application/json", b'{"to": "\\u0451"}'),
        (
            {"form": {"a": "1&2", "b": "ё"}},
            "application/x-www-form-urlencoded",
            b"a=1%262&b=%D1%91",
        ),
        ({}, None, b""),
    ]
    failures = []
    for given, content_type, body in rows:
        client.request("POST", provider.url, headers={"X-Own": "yes"}, **given)
        received = provider.received[-1]
        headers = (received.headers["Content-Type"], received.headers["X-Own"])
        if (received.method, received.body, headers) != ("POST", body, (content_type, "yes")):
            failures.append((given, received))
    assert not failures


def test_response_is_returned_whatever_its_status(client, provider):
    provider.answer(418, '{"tea": "зелёный"}'.encode(), X_Pot="short")

    response = client.request("GET", provider.url)

    assert (response.status, response.headers["x-pot"]) == (418, "short")
    assert response.json() == {"tea": "зелёный"}
    assert not response.truncated


def test_redirect_is_returned_not_followed(client, provider):
    provider.answer(307, b"", Location=f"{provider.url}/elsewhere")

    assert client.request("POST", provider.url, body=b"x").status == 307
    assert len(provider.received) == 1


def test_body_beyond_the_limit_is_truncated_and_marked(make_client, provider):
    client = make_client(response_limit_bytes=10)
    provider.answer(200, b"0123456789")
    assert not client.request("GET", provider.url).truncated

    provider.answer(200, b"0123456789a")
    response = client.request("GET", provider.url)

    assert (response.body, response.truncated) == (b"0123456789", True)


def test_endless_body_is_read_up_to_the_limit(make_client, provider):
    client = make_client(response_limit_bytes=10)
    provider.trickle(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n0123456789a", b"", b"")

    assert client.request("GET", provider.url).truncated


def test_cookies_are_not_sent_back(client, provider):
    provider.answer(200, b"", Set_Cookie="session=1")

    client.request("GET", provider.url)
    client.request("GET", provider.url)

    assert provider.received[1].headers["Cookie"] is None


def test_proxies_and_netrc_of_the_environment_are_ignored(
    client, provider, monkeypatch, tmp_path: Path
):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    assert client.request("GET", provider.url).status == 200
    assert provider.received[0].headers["Authorization"] is None


# --- failures after which the message may have been sent

BROKEN_OFF = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"
BROKEN_OFF_CHUNK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nhalf"


MISBEHAVIOURS: list[tuple[str, Callable[[Provider], object], str]] = [
    ("no response", lambda p: p.hang(), "timed_out"),
    ("pause in the body", lambda p: p.send(BROKEN_OFF), "timed_out"),
    ("pause in the head", lambda p: p.send(b"HTTP/1.1 200 OK\r\nX-"), "timed_out"),
    ("slow status line", lambda p: p.trickle(b"", b"H", b"\r\n\r\n"), "timed_out"),
    (
        "slow head",
        lambda p: p.trickle(b"HTTP/1.1 200 OK\r\nX: ", b"x", b"\r\nContent-Length: 0\r\n\r\n"),
        "timed_out",
    ),
    (
        "slow body",
        lambda p: p.trickle(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", b"x", b""),
        "timed_out",
    ),
    (
        "slow chunks",
        lambda p: p.trickle(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", b"0\r\n\r\n"
        ),
        "timed_out",
    ),
    ("reset", lambda p: p.reset(), "connection_failed"),
    ("closed without a response", lambda p: p.send(b"", then_close=True), "connection_failed"),
    ("truncated body", lambda p: p.send(BROKEN_OFF, then_close=True), "connection_failed"),
    ("truncated chunk", lambda p: p.send(BROKEN_OFF_CHUNK, then_close=True), "connection_failed"),
    (
        "not HTTP",
        lambda p: p.send(b"SSH-2.0-OpenSSH_9.6\r\n", then_close=True),
        "connection_failed",
    ),
    (
        "very long header",
        lambda p: p.send(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, then_close=True),
        "connection_failed",
    ),
]


@pytest.mark.parametrize("reused", [False, True], ids=["new connection", "reused connection"])
def test_request_without_a_complete_response_is_uncertain(make_client, provider, reused):
    failures = []
    for name, misbehave, code in MISBEHAVIOURS:
        client = make_client()
        if reused:
            provider.answer(200)
            client.request("POST", provider.url, json={})
        provider.received.clear()
        misbehave(provider)
        with pytest.raises(Uncertain) as raised:
            client.request("POST", provider.url + SECRET_PATH, json={"content": "4711"})
        shown = [word for word in ("secret", "2015550123", "4711") if word in str(raised.value)]
        if (raised.value.code, len(provider.received), shown) != (code, 1, []):
            failures.append((name, raised.value, len(provider.received)))
    assert not failures


def test_read_timeout_applies_before_the_total_timeout(make_client, provider):
    answer = provider.behave

    def answer_after_two_seconds(handler: Any) -> None:
        provider.stopping.wait(2)
        answer(handler)

    provider.behave = answer_after_two_seconds

    with pytest.raises(Uncertain, match="timed_out"):
        make_client(total_timeout_seconds=30).request("POST", provider.url, json={})


def test_provider_that_stops_reading_the_body_is_uncertain(client):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        with pytest.raises(Uncertain, match="timed_out"):
            client.request("POST", url, body=b"x" * 50_000_000)


def test_error_status_counts_even_if_the_body_breaks_off(client, provider) -> None:
    failures = []
    for then_close in (True, False):
        provider.send(
            b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 9\r\n\r\nhalf",
            then_close=then_close,
        )
        response = client.request("POST", provider.url, json={})
        found = (response.status, response.truncated, response.headers["Retry-After"])
        if found != (503, True, "7"):
            failures.append((then_close, found))
    assert not failures
