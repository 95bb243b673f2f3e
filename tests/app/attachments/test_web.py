"""Fetching files from web servers."""

import socket
import time
from datetime import timedelta
from typing import Any

import pytest

from app.attachments import web
from app.attachments.errors import UNAVAILABLE, AttachmentError
from connectors.base import Unavailable
from connectors.toolkit.http import Response
from tests.app.attachments.files import file, rejection, resolved
from tests.doubles.file_server import Answer, FileServer
from tests.servers import free_port


def test_request_contains_nothing_but_the_address(server: FileServer) -> None:
    server.files["/a"] = Answer()
    resolved(file(f"{server.url}/a?size=1#page=2"))
    [request] = server.requests
    assert (request.method, request.target) == ("GET", "/a?size=1")
    assert {name.lower() for name in request.headers} == {"host", "user-agent", "accept-encoding"}


def test_status_of_the_response_decides_the_error(server: FileServer) -> None:
    codes = {
        "refused": (201, 204, 304, 400, 416),
        "forbidden": (401, 403),
        "not_found": (404, 410),
        "unavailable": (408, 425, 429, 500, 502, 503),
    }
    failures = []
    for code, statuses in codes.items():
        for status in statuses:
            server.files["/"] = Answer(status)
            error = rejection(file(f"{server.url}/"))
            if error.code != f"attachment_{code}" or not error.detail.endswith(f" {status}"):
                failures.append((status, error.code, error.detail))
    assert not failures


def test_wait_that_the_server_requests_is_respected(server: FileServer) -> None:
    for header, expected in (("7", timedelta(seconds=7)), ("soon", None)):
        server.files["/"] = Answer(503, headers={"Retry-After": header})
        error = rejection(file(f"{server.url}/"))
        assert isinstance(error, Unavailable)
        assert error.retry_after == expected


def test_transport_failure_is_unavailable(
    server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["/"] = Answer(body=b"half", length_bytes=8)
    assert rejection(file(f"{server.url}/")).code == "attachment_unavailable"

    error = rejection(file(f"http://127.0.0.1:{free_port()}/"))
    assert (error.code, "connection_refused" in error.detail) == ("attachment_unavailable", True)

    def resolve(*_: object, **__: object) -> Any:
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    error = rejection(file("https://files.example/a"))
    assert (error.code, "name_not_resolved" in error.detail) == ("attachment_unavailable", True)


def test_invalid_address_is_rejected() -> None:
    addresses = [
        "ftp://files.example/a",
        "file:///etc/passwd",
        "http://",
        "http://user:secret@files.example/",
        "http://.example/",
        "http://a b/",
        "http://[::z]/",
        "http://files.example:0/",
        "/a",
        "s3://x",
        "s3://Bucket/key",
        "s3://bucket",
        "s3://a_b/key",
        "s3://bucket/",
    ]
    codes = {address: rejection(file(address)).code for address in addresses}
    assert {a: c for a, c in codes.items() if c != "attachment_address"} == {}


def test_only_public_and_allowed_hosts_are_contacted() -> None:
    hosts = [
        "127.0.0.2", "127.2", "2130706434", "0x7f000002", "0177.0.0.2", "0.0.0.0", "[::1]",
        "[::ffff:127.0.0.2]", "169.254.169.254", "10.0.0.1", "100.64.0.1", "[fd00:ec2::254]",
    ]  # fmt: skip
    errors = {host: rejection(file(f"http://{host}:1/")) for host in hosts}
    assert {error.code for error in errors.values()} == {"attachment_network"}
    assert not [host for host, error in errors.items() if host in error.detail]


def test_loopback_is_not_contacted_unless_allowed(
    server: FileServer, environment: pytest.MonkeyPatch
) -> None:
    environment.delenv("POSTROOM_ATTACHMENT_NETWORKS")
    assert rejection(file(f"{server.url}/")).code == "attachment_network"
    assert server.requests == []


def test_redirects_are_followed_three_times(server: FileServer) -> None:
    for number, status in enumerate([301, 302, 307]):
        server.files[f"/{number}"] = Answer(status, headers={"Location": f"/{number + 1}"})
    server.files["/3"] = Answer(body=b"content")
    [found] = resolved(file(f"{server.url}/0"))
    assert found.content == b"content"
    server.files["/first"] = Answer(308, headers={"Location": f"{server.url}/0"})
    assert rejection(file(f"{server.url}/first")).code == "attachment_refused"


def test_redirect_leads_only_to_addresses_that_are_allowed_themselves(server: FileServer) -> None:
    targets = {
        None: "refused",
        "http://[::z]/": "refused",
        "http://127.0.0.2:1/": "network",
        "//169.254.169.254/latest/meta-data": "network",
        "file:///etc/passwd": "address",
        "s3://bucket/key": "address",
        "http://user:secret@127.0.0.1/": "address",
        "/": "refused",
    }
    failures = []
    for target, code in targets.items():
        server.files["/"] = Answer(303, headers={"Location": target} if target else {})
        if (found := rejection(file(f"{server.url}/")).code) != f"attachment_{code}":
            failures.append((target, found))
    assert not failures


def test_redirect_from_https_to_http_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    moved = Response(302, {"Location": "http://files.example/b"})
    monkeypatch.setattr(web, "_request", lambda url: moved)
    error = rejection(file("https://files.example/a"))
    assert error.code == "attachment_refused"
    assert "from https" in error.detail


def test_redirect_is_not_followed_after_the_deadline(server: FileServer) -> None:
    with pytest.raises(AttachmentError) as caught:
        web.fetch(f"{server.url}/", time.monotonic())
    assert caught.value.code is UNAVAILABLE
    assert server.requests == []


def test_endless_file_is_read_only_up_to_the_limit(
    server: FileServer, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("POSTROOM_ATTACHMENT_LIMIT_BYTES", "1000")
    server.files["/"] = Answer(body=bytes(1001), length_bytes=10**12)
    assert rejection(file(f"{server.url}/")).code == "attachment_too_large"


def test_no_part_of_an_address_is_in_an_error_or_log(
    server: FileServer, full_log: pytest.LogCaptureFixture
) -> None:
    for status in (302, 403, 500):
        server.files["/private"] = Answer(status, headers={"Location": "/private?token=moved"})
        error = rejection(file(f"{server.url}/private?token=secret", name="salary.pdf"))
        written = f"{error} {full_log.text}"
        assert not [word for word in ("private", "secret", "moved", "salary") if word in written]
