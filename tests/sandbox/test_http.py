import re
import socket
from urllib.parse import urlsplit

from sandbox.client import RunningSandbox
from sandbox.http import MAX_REQUEST_BYTES


def raw_connection(sandbox: RunningSandbox) -> socket.socket:
    address = urlsplit(sandbox.http_url)
    return socket.create_connection((address.hostname, address.port), timeout=30)


def gateway_request(to: str, extra: str = "") -> bytes:
    body = f'{{"to": "{to}", "content": "Hello"}}'
    return (
        "POST /gateway HTTP/1.1\r\nHost: sandbox\r\nContent-Type: application/json\r\n"
        f"{extra}Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def test_head_request_gets_no_body_and_the_connection_stays_open(sandbox):
    assert sandbox.session.head(f"{sandbox.api_url}/x", timeout=30).status_code == 200
    assert sandbox.session.get(f"{sandbox.api_url}/x", timeout=30).json()["method"] == "GET"


def test_chunked_body_is_read(sandbox):
    response = sandbox.session.post(f"{sandbox.api_url}/x", data=iter([b"in ", b"parts"]))

    assert response.status_code == 200
    assert [record["content"] for record in sandbox.received()] == ["in parts"]


def test_pipelined_requests_are_answered_in_order(sandbox):
    sandbox.control("+12025550001", {"slow_seconds": 0.01})
    with raw_connection(sandbox) as client:
        client.sendall(
            gateway_request("+12025550001")
            + gateway_request("+12025550400")
            + gateway_request("+12025550002", "Connection: close\r\n")
        )
        responses = client.makefile("rb").read().decode()

    assert re.findall(r"HTTP/1\.1 (\d+)", responses) == ["202", "400", "202"]


def test_request_sent_byte_by_byte_is_read(sandbox):
    with raw_connection(sandbox) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in gateway_request("+12025550123", "Connection: close\r\n"):
            client.sendall(bytes([byte]))
        assert client.makefile("rb").read().startswith(b"HTTP/1.1 202 ")


def test_invalid_requests_are_rejected_and_the_connection_is_closed(sandbox):
    failures = []
    for raw, status in [
        (b"HELLO\r\n\r\n", 400),
        (b"POST /gateway HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET /received HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", 400),
        (
            b"POST /api/x HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n" + bytes(MAX_REQUEST_BYTES),
            413,
        ),
    ]:
        with raw_connection(sandbox) as client:
            client.sendall(raw)
            response = client.makefile("rb").read()
        if not response.startswith(b"HTTP/1.1 %d " % status):
            failures.append((raw[:80], response))

    assert not failures
